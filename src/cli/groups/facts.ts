// What is to be known of each security group: members, rules with their hits, who binds it and who names it. Pure.

import type { SecurityGroup } from "../../kube/policy-objects.ts";
import type { Ip } from "../../net/ip.ts";
import { groupsOf } from "../../policy/groups-of.ts";
import { groupMembership } from "../../policy/membership.ts";
import type { Direction, PolicyObjects, PolicyPod, Rule } from "../../policy/model.ts";
import { peersText, portsText } from "../../policy/packet-text.ts";
import type { ReadGroup } from "../../policy/read-group.ts";
import { type ReadObjects, readObjects } from "../../policy/read-objects.ts";
import type { Counted } from "./agents.ts";

/** A group, as `-o json` has it; it only ever gains keys. */
export interface GroupFacts {
  name: string;
  mode: "enforce" | "audit";
  members: { pod: string; node: string; addresses: readonly Ip[] }[];
  rules: RuleFacts[];
  /** "everything" where no rule of the group is asked for what members send. */
  egress: "rules" | "everything";
  /** Objects that bind pods to it. */
  boundBy: string[];
  /** Rules that name its members as peers. */
  namedBy: string[];
  /** As the controller has written it. */
  nodesEnforcing?: number;
  nodesTotal?: number;
  conditions: { type: string; status: string; reason: string; message: string }[];
  /** Packets that the group and those beside it on a pod denied, or audited, by the agents that were asked; absent without any. */
  denied?: number;
  audited?: number;
}

export interface RuleFacts {
  direction: Direction;
  /** Its place in the object, counted from 1. */
  number: number;
  ports: string;
  peers: string;
  /** Packets that began connections by it, at least and at most; absent where no agent that was asked judges by it. */
  hits?: { min: number; max: number };
}

export interface GroupsInput {
  policy: PolicyObjects;
  pods: readonly PolicyPod[];
  counted: readonly Counted[];
}

/** All groups, by name. */
export function groupFacts({ policy, pods, counted }: GroupsInput): GroupFacts[] {
  const read = readObjects(policy);
  const members = membersByGroup(pods, read);
  const hits = hitsByRule(counted);
  const named = namersByGroup(read);
  return policy.groups
    .map((group): GroupFacts => {
      const { name } = group.metadata;
      const said = read.groups.get(name);
      return {
        name,
        mode: group.spec.mode ?? "enforce",
        members: members.get(name) ?? [],
        rules: said === undefined ? [] : rulesOf(said, read, hits),
        egress: group.spec.egress === undefined ? "everything" : "rules",
        boundBy: bindersOf(name, read),
        namedBy: named.get(groupMembership(name).key) ?? [],
        ...statusOf(group),
        ...deniedBy(name, counted),
      };
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function membersByGroup(pods: readonly PolicyPod[], read: ReadObjects): Map<string, GroupFacts["members"]> {
  const members = new Map<string, GroupFacts["members"]>();
  for (const pod of pods) {
    if (pod.addresses.length === 0) continue;
    const { namespace, name, node, addresses } = pod;
    for (const group of groupsOf(pod, read).groups) {
      const of = members.get(group.name) ?? [];
      members.set(group.name, of);
      of.push({ pod: `${namespace}/${name}`, node, addresses });
    }
  }
  for (const of of members.values()) of.sort((a, b) => (a.pod < b.pod ? -1 : 1));
  return members;
}

function hitsByRule(counted: readonly Counted[]): Map<string, { min: number; max: number }> {
  const hits = new Map<string, { min: number; max: number }>();
  for (const { rule, min, max } of counted.flatMap(({ rules }) => rules)) {
    const before = hits.get(rule) ?? { min: 0, max: 0 };
    hits.set(rule, { min: before.min + min, max: before.max + max });
  }
  return hits;
}

function rulesOf(
  { ingress, egress = [] }: ReadGroup,
  { memberships }: ReadObjects,
  hits: ReadonlyMap<string, { min: number; max: number }>,
): RuleFacts[] {
  const inOrder = (direction: Direction, rules: readonly Rule[]): RuleFacts[] =>
    rules.map((rule) => {
      const found = hits.get(rule.from);
      return {
        direction,
        number: Number(/\d+$/.exec(rule.from)?.[0]),
        ports: portsText(rule),
        peers: peersText(rule, memberships),
        ...(found === undefined ? {} : { hits: found }),
      };
    });
  return [...inOrder("ingress", ingress), ...inOrder("egress", egress)];
}

function bindersOf(group: string, { bindings }: ReadObjects): string[] {
  return [...bindings.values()]
    .flat()
    .filter(({ groups }) => groups.some(({ name }) => name === group))
    .map(({ title }) => title)
    .toSorted();
}

/** By membership: the rules that have it as a peer. */
function namersByGroup({ groups }: ReadObjects): Map<string, string[]> {
  const namers = new Map<string, string[]>();
  for (const { ingress, egress = [] } of groups.values()) {
    for (const { from, peers } of [...ingress, ...egress]) {
      for (const peer of peers) {
        if (!("members" in peer)) continue;
        namers.set(peer.members, [...(namers.get(peer.members) ?? []), from]);
      }
    }
  }
  return namers;
}

function statusOf({ status }: SecurityGroup): Pick<GroupFacts, "nodesEnforcing" | "nodesTotal" | "conditions"> {
  const { nodesEnforcing, nodesTotal, conditions = [] } = status ?? {};
  return {
    ...(nodesEnforcing === undefined ? {} : { nodesEnforcing }),
    ...(nodesTotal === undefined ? {} : { nodesTotal }),
    conditions: conditions.map(({ type, status: state, reason, message }) => ({
      type,
      status: state,
      reason,
      message,
    })),
  };
}

function deniedBy(name: string, counted: readonly Counted[]): Pick<GroupFacts, "denied" | "audited"> {
  if (counted.length === 0) return {};
  const layers = counted
    .flatMap((one) => one.layers)
    .filter(({ kind, objects }) => kind === "groups" && objects.includes(`SecurityGroup ${name}`));
  const sum = (otherwise: string): number =>
    layers.reduce((all, layer) => all + (layer.otherwise === otherwise ? layer.packets : 0), 0);
  return { denied: sum("deny"), audited: sum("audit") };
}
