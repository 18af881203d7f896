// Members that a new leader finds in slices and does not know: its caches may be behind those of whoever wrote them, so storage is asked before they go.

import type { Kind, Kube, KubeObject } from "../../kube/contract.ts";
import { nodes, type Pod, pods } from "../../kube/core-objects.ts";
import { ifKnown, ifThere } from "../../kube/if-there.ts";
import { nodeEndpoints, nodeNetworks } from "../../kube/objects.ts";
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
      const roster = await storedRoster(kube, held, new Set([...doubtful.values()].flatMap((ids) => [...ids])), signal);
      askedMs = uptime();
      const kept = new Map<string, ReadonlySet<string>>();
      for (const { definition, slices } of held) {
        const { key } = definition;
        const ids = [...(doubtful.get(key) ?? [])].filter((id) => roster.members(key).has(id));
        if (ids.length > 0) kept.set(key, new Set(ids));
        else for (const slice of slices) if (!isSettled(slice)) settle(slice);
      }
      return kept;
    },
  };
}

/** Who of those with these ids is a member of what, by storage alone. */
async function storedRoster(
  kube: Kube,
  held: readonly Held[],
  ids: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Roster> {
  const stored = async <T extends KubeObject>(kind: Kind<T>): Promise<readonly T[]> =>
    (await kube.list(kind, { signal })).items;
  const [published, ...others] = await Promise.all([
    stored(nodeEndpoints),
    stored(nodes),
    stored(nodeNetworks),
    stored(namespaces),
    stored(serviceAccounts),
    stored(securityGroups),
    stored(securityGroupBindings),
    ifKnown(kube.list(securityGroupPolicies, { signal })),
  ]);
  const [storedNodes, networks, spaces, accounts, groups, bindings, groupPolicies] = others;
  const addresses = new Set([...ids].flatMap((id) => id.split(",")));
  const owners = published
    .flatMap(({ endpoints }) => endpoints)
    .filter((endpoint) => endpoint.addresses.some((address) => addresses.has(address)));
  const found = await podsOf(kube, owners, signal);
  const roster = createRoster({
    pods: { all: () => found },
    nodes: getter(storedNodes),
    networks: getter(networks),
    endpoints: getter(published),
  });
  const objects = {
    namespaces: spaces,
    serviceAccounts: accounts,
    groups,
    bindings,
    networkPolicies: [],
    groupPolicies,
  };
  roster.update(
    readObjects(objects),
    held.map(({ definition }) => definition),
  );
  return roster;
}

/** The pods of these names that there are. */
async function podsOf(
  kube: Kube,
  names: readonly { name: string; namespace: string }[],
  signal: AbortSignal,
): Promise<readonly Pod[]> {
  if (names.length > podsAskedMax) return (await kube.list(pods, { signal })).items;
  const found = await Promise.all(
    names.map(({ name, namespace }) => ifThere(kube.get(pods, { name, namespace }, { signal }))),
  );
  return found.filter((pod) => pod !== undefined);
}

function getter<T extends KubeObject>(objects: readonly T[]): { get: (ref: { name: string }) => T | undefined } {
  const byName = new Map(objects.map((object) => [object.metadata.name, object]));
  return { get: ({ name }) => byName.get(name) };
}
