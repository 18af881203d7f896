// Members that a new leader finds in slices and does not know: its caches may be behind those of whoever wrote them, so storage is asked before they go.

import { isFault } from "../../base/fault.ts";
import type { Kind, Kube, KubeObject, Meta } from "../../kube/contract.ts";
import { nodes, type Pod, pods } from "../../kube/core-objects.ts";
import { ifThere } from "../../kube/if-there.ts";
import { type Endpoint, nodeEndpoints, nodeNetworks } from "../../kube/objects.ts";
import { listReadable, listReadableIfKnown, type Readable } from "../../kube/readable.ts";
import {
  type MembershipSlice,
  namespaces,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "../../kube/policy-objects.ts";
import type { MembershipDefinition } from "../../policy/model.ts";
import { readObjects } from "../../policy/read-objects.ts";
import type { ControllerDeps } from "../deps.ts";
import { createRoster, type Roster } from "./roster.ts";
import { idsOf, type Members } from "./slices.ts";
import { still } from "./still.ts";

/** Between two questions to storage about what is still not known: caches are behind for seconds, or are made anew. */
export const askEveryMs = 10_000;
/** More pods than this are listed and not asked for one by one. */
const podsAskedMax = 64;

/** A membership as its slices have it, and as the caches do. */
export interface Held {
  definition: MembershipDefinition;
  slices: readonly MembershipSlice[];
  members: Members;
}

export interface Inherited {
  /** Of each membership the ids that stay in its slices for now: by the caches they are no members, by storage they are. @throws what the API server says */
  keptOf: (held: readonly Held[], signal: AbortSignal) => Promise<ReadonlyMap<string, ReadonlySet<string>>>;
  /** To be called with a slice that was written here, as the server has it now, where `keptOf` had nothing of its membership. */
  settle: (slice: MembershipSlice) => void;
}

/**
 * To be made for each term. A version of a slice is settled once everything in it is known, or storage has been asked, or it was
 * written here: what goes from it later is news. Any other version is from whoever led before, and may tell of what is not known here.
 */
export function createInherited({ kube, uptime }: Pick<ControllerDeps, "kube" | "uptime">): Inherited {
  /** By membership and name of the slice its last two: what the caches have, and what was written here and is not heard of yet. */
  const settled = new Map<string, Map<string, readonly string[]>>();
  let askedMs = -Infinity;
  const isSettled = ({ membership, metadata: { name, resourceVersion = "" } }: MembershipSlice): boolean =>
    settled.get(membership)?.get(name)?.includes(resourceVersion) === true;
  const settle = ({ membership, metadata: { name, resourceVersion = "" } }: MembershipSlice): void => {
    const versions = settled.get(membership) ?? new Map<string, readonly string[]>();
    versions.set(name, [...(versions.get(name) ?? []).slice(-1), resourceVersion]);
    settled.set(membership, versions);
  };
  return {
    settle,
    keptOf: async (held, signal) => {
      const doubtful = new Map<string, ReadonlySet<string>>();
      const followed = new Set<string>();
      for (const { definition, slices, members } of held) {
        followed.add(definition.key);
        const unknown = new Set<string>();
        for (const slice of slices) {
          if (isSettled(slice)) continue;
          const ids = idsOf(slice).filter((id) => !members.has(id));
          if (ids.length === 0) settle(slice);
          for (const id of ids) unknown.add(id);
        }
        if (unknown.size > 0) doubtful.set(definition.key, unknown);
      }
      for (const key of settled.keys()) if (!followed.has(key)) settled.delete(key);
      if (doubtful.size === 0 || uptime() - askedMs < askEveryMs) return doubtful;
      const unknown = new Set([...doubtful.values()].flatMap((ids) => [...ids]));
      const { roster, isUnsure } = await storedRoster(kube, held, unknown, signal);
      askedMs = uptime();
      const kept = new Map<string, ReadonlySet<string>>();
      for (const { definition, slices } of held) {
        const { key } = definition;
        const ids = [...(doubtful.get(key) ?? [])].filter(
          (id) => roster.members(key).has(id) || isUnsure(definition, id),
        );
        if (ids.length > 0) kept.set(key, new Set(ids));
        else for (const slice of slices) if (!isSettled(slice)) settle(slice);
      }
      return kept;
    },
  };
}

/** What storage alone says. */
interface Stored {
  roster: Roster;
  /** Who is no member by what could be read, and may be one by what could not: the leader of before may have read an older version. */
  isUnsure: (definition: MembershipDefinition, id: string) => boolean;
}

/** Who of those with these ids is a member of what. One object that cannot be read keeps nobody waiting but those whom it may be about. */
async function storedRoster(
  kube: Kube,
  held: readonly Held[],
  ids: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Stored> {
  const stored = <T extends KubeObject>(kind: Kind<T>): Promise<Readable<T>> => listReadable(kube, kind, { signal });
  const [published, storedNodes, networks, spaces, accounts, groups, bindings, groupPolicies] = await Promise.all([
    stored(nodeEndpoints),
    stored(nodes),
    stored(nodeNetworks),
    stored(namespaces),
    stored(serviceAccounts),
    stored(securityGroups),
    stored(securityGroupBindings),
    listReadableIfKnown(kube, securityGroupPolicies, { signal }),
  ]);
  const addresses = new Set([...ids].flatMap((id) => id.split(",")));
  const owners = published.items
    .flatMap(({ endpoints }) => endpoints)
    .filter((endpoint) => endpoint.addresses.some((address) => addresses.has(address)));
  const found = await podsOf(kube, owners, signal);
  const roster = createRoster({
    pods: still(found.items),
    nodes: still(storedNodes.items),
    networks: still(networks.items),
    endpoints: still(published.items),
  });
  const objects = {
    namespaces: spaces.items,
    serviceAccounts: accounts.items,
    groups: groups.items,
    bindings: bindings.items,
    networkPolicies: [],
    groupPolicies: groupPolicies.items,
  };
  roster.update(
    readObjects(objects),
    held.map(({ definition }) => definition),
  );
  const isWhere = [published, storedNodes, networks, found].every(({ unreadable }) => unreadable.length === 0);
  const isOpen = [spaces, groups].every(({ unreadable }) => unreadable.length === 0);
  const binding = new Set([accounts, bindings, groupPolicies].flatMap(({ unreadable }) => unreadable.map(namespaceOf)));
  return {
    roster,
    isUnsure: ({ select }, id) => {
      if (!roster.isAttached(id)) return !isWhere;
      return !isOpen || ("group" in select && namespacesOf(owners, id).some((name) => binding.has(name)));
    },
  };
}

const namespaceOf = ({ namespace = "" }: Pick<Meta, "namespace">): string => namespace;

/** The namespaces of attachments that have an address of that id. */
function namespacesOf(owners: readonly Endpoint[], id: string): string[] {
  const addresses = new Set<string>(id.split(","));
  return owners.filter((owner) => owner.addresses.some((address) => addresses.has(address))).map(namespaceOf);
}

/** The pods of these names that there are. */
async function podsOf(
  kube: Kube,
  names: readonly { name: string; namespace: string }[],
  signal: AbortSignal,
): Promise<Readable<Pod>> {
  if (names.length > podsAskedMax) return await listReadable(kube, pods, { signal });
  const found: Readable<Pod> = { items: [], unreadable: [] };
  const ask = async ({ name, namespace }: { name: string; namespace: string }): Promise<void> => {
    try {
      const pod = await ifThere(kube.get(pods, { name, namespace }, { signal }));
      if (pod !== undefined) found.items.push(pod);
    } catch (error) {
      if (!isFault(error, "kube-answer")) throw error;
      found.unreadable.push({ name, namespace });
    }
  };
  await Promise.all(names.map(ask));
  return found;
}
