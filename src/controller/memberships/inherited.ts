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
import { endpointId, type SliceEndpoint } from "./slices.ts";

/** Between two questions to storage about what is still not known: caches are behind for seconds, or are made anew. */
export const askEveryMs = 10_000;
/** More pods than this are listed and not asked for one by one. */
const podsAskedMax = 64;

/** A membership as its slices have it, and as the caches do. */
export interface Held {
  definition: MembershipDefinition;
  slices: readonly MembershipSlice[];
  members: ReadonlyMap<string, SliceEndpoint>;
}

export interface Inherited {
  /** Of each membership the ids that stay in its slices for now: by the caches they are no members, by storage they are. @throws what the API server says */
  keptOf: (held: readonly Held[], signal: AbortSignal) => Promise<ReadonlyMap<string, ReadonlySet<string>>>;
}

/** To be made for each term: once a membership has been found to be as the caches say, its slices hold nothing that they do not know. */
export function createInherited({ kube, uptime }: Pick<ControllerDeps, "kube" | "uptime">): Inherited {
  const settled = new Set<string>();
  let askedMs = -Infinity;
  return {
    keptOf: async (held, signal) => {
      const doubtful = new Map<string, ReadonlySet<string>>();
      for (const { definition, slices, members } of held) {
        if (settled.has(definition.key)) continue;
        const ids = slices.flatMap(({ endpoints }) => endpoints.map(endpointId)).filter((id) => !members.has(id));
        if (ids.length === 0) settled.add(definition.key);
        else doubtful.set(definition.key, new Set(ids));
      }
      if (doubtful.size === 0 || uptime() - askedMs < askEveryMs) return doubtful;
      const roster = await storedRoster(kube, held, new Set([...doubtful.values()].flatMap((ids) => [...ids])), signal);
      askedMs = uptime();
      const kept = new Map<string, ReadonlySet<string>>();
      for (const { definition } of held) {
        const { key } = definition;
        const ids = [...(doubtful.get(key) ?? [])].filter((id) => roster.members(key).has(id));
        if (ids.length > 0) kept.set(key, new Set(ids));
        else settled.add(key);
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
