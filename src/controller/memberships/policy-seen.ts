// What statuses and events about policy are judged by: all of it as it was in one turn of the event loop.

import type { Pod } from "../../kube/core-objects.ts";
import type { MembershipDefinition } from "../../policy/model.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import type { Caches, ControllerDeps } from "../deps.ts";
import type { EnforcementCaches } from "./enforcement.ts";
import { type Opened, openedNow } from "./opened.ts";
import type { MemberNodes, Roster } from "./roster.ts";
import { still, type Still } from "./still.ts";

/** The versions that are judged are those that are written on. */
export interface PolicySeen {
  objects: ReadObjects;
  membersOf: (group: string) => number;
  /** Nodes that have members. */
  nodesOf: (group: string) => MemberNodes;
  caches: EnforcementCaches & { pods: Still<Pod> } & {
    [Name in "bindings" | "groupPolicies" | "networkPolicies"]: Pick<Caches[Name], "all">;
  };
  opened: Opened;
}

/** Takes it all down, at once; `groups` are the memberships of the groups in `objects`, by name. */
export function seePolicy(
  { caches, now }: Pick<ControllerDeps, "caches" | "now">,
  objects: ReadObjects,
  groups: ReadonlyMap<string, MembershipDefinition>,
  roster: Pick<Roster, "members" | "nodes">,
): PolicySeen {
  const members = new Map<string, number>();
  const nodes = new Map<string, MemberNodes>();
  for (const [group, { key }] of groups) {
    members.set(group, roster.members(key).size);
    nodes.set(group, roster.nodes(key));
  }
  const held = {
    nodes: still(caches.nodes.all()),
    networks: still(caches.networks.all()),
    endpoints: still(caches.endpoints.all()),
    pods: still(caches.pods.all()),
    groups: still(caches.groups.all()),
    bindings: still(caches.bindings.all()),
    groupPolicies: still(caches.groupPolicies.all()),
    networkPolicies: still(caches.networkPolicies.all()),
  };
  return {
    objects,
    membersOf: (group) => members.get(group) ?? 0,
    nodesOf: (group) => nodes.get(group) ?? new Map(),
    caches: held,
    opened: openedNow(held, objects, now()),
  };
}
