// Security groups, naively: the union of what the groups of a pod allow, and which groups those are. Comments in quotes are words of
// the kinds' own fields.

import type { GroupPeer, GroupRule, LabelSelector } from "../../src/kube/policy-objects.ts";
import type { Ip } from "../../src/net/ip.ts";
import type { Direction, PolicyPod } from "../../src/policy/model.ts";
import { selects } from "./naive-parts.ts";
import {
  addressesOf,
  type Grant,
  type Grants,
  selectsNamespace,
  type Service,
  servicesWhere,
  type Universe,
} from "./naive-universe.ts";
import type { World } from "./world.ts";

/** What the groups of a pod grant it in one direction; undefined where nothing binds it to groups. */
export function groupGrants(world: World, universe: Universe, pod: PolicyPod, direction: Direction): Grants {
  const bound = groupsBoundTo(world, pod);
  if (bound.length === 0) return undefined;
  const members = groupsOf(world, pod);
  const groups = world.objects.groups.filter(({ metadata }) => members.includes(metadata.name));
  const allowed = groups.flatMap(({ spec }) => {
    // "absent: everything, []: nothing"
    if (direction === "egress" && spec.egress === undefined)
      return [{ peers: universe.addresses, services: universe.services }];
    const rules: readonly GroupRule[] = (direction === "egress" ? spec.egress : spec.ingress) ?? [];
    return rules.map((rule) => ({
      peers: new Set(("from" in rule ? rule.from : rule.to).flatMap((peer) => peerAddresses(world, universe, peer))),
      services: servicesWhere(universe, (service) => ruleHolds(rule, service)),
    }));
  });
  if (direction === "egress") allowed.push(...namesFromResolvers(world, universe));
  // A group that does not exist, or that may not be bound, allows nothing and is not on probation.
  const audit = bound.every((name) => members.includes(name)) && groups.every(({ spec }) => spec.mode === "audit");
  return { allowed, audit };
}

/** "UDP and TCP 53 to those pods and addresses", whatever the groups of a pod say of what it sends. */
function namesFromResolvers({ allowDns, pods }: World, universe: Universe): Grant[] {
  if (allowDns === null) return [];
  const { namespace, podLabels, addresses } = allowDns;
  const resolvers = pods.filter(
    (pod) =>
      pod.namespace === namespace && Object.entries(podLabels).every(([key, value]) => pod.labels[key] === value),
  );
  const peers = new Set([...resolvers.flatMap((pod) => pod.addresses), ...addresses]);
  return [{ peers, services: servicesWhere(universe, ({ text }) => text === "17/53" || text === "6/53") }];
}

/** Names of groups that objects of the pod's namespace bind it to, whether or not they may. */
function groupsBoundTo({ objects }: World, pod: PolicyPod): string[] {
  const account = objects.serviceAccounts.find(
    ({ metadata }) => metadata.namespace === pod.namespace && metadata.name === pod.serviceAccount,
  );
  /** "With podSelector, both must match"; none of them selects nobody. */
  const selected = (pods: LabelSelector | undefined, accounts: LabelSelector | undefined): boolean => {
    if (pods === undefined && accounts === undefined) return false;
    if (pods !== undefined && !selects(pods, pod.labels)) return false;
    return accounts === undefined || selects(accounts, account?.metadata.labels ?? {}); // an unknown account has no labels
  };
  const bindings = objects.bindings.map(({ metadata, spec }) => ({ metadata, spec, groups: spec.groups }));
  const policies = objects.groupPolicies.map(({ metadata, spec }) => ({
    metadata,
    spec,
    groups: spec.securityGroups?.groupIds ?? [],
  }));
  return [...bindings, ...policies]
    .filter(({ metadata }) => metadata.namespace === pod.namespace)
    .filter(({ spec }) => selected(spec.podSelector, spec.serviceAccountSelector))
    .flatMap(({ groups }) => groups);
}

/** Of these the groups that exist, and that are "bindableFrom" the pod's namespace: the pod is a member of them. */
export function groupsOf(world: World, pod: PolicyPod): string[] {
  return groupsBoundTo(world, pod).filter((name) => {
    const group = world.objects.groups.find(({ metadata }) => metadata.name === name);
    return group !== undefined && selectsNamespace(world, group.spec.bindableFrom, pod.namespace);
  });
}

/** "A peer is one of cidr, securityGroup and namespaceSelector." */
function peerAddresses(world: World, universe: Universe, peer: GroupPeer): Ip[] {
  const { cidr, except, securityGroup, namespaceSelector, podSelector } = peer;
  if ([cidr, securityGroup, namespaceSelector].filter((part) => part !== undefined).length !== 1) return [];
  // Parts of another kind of peer: nobody can tell what is meant, so nothing is allowed.
  if (podSelector !== undefined && namespaceSelector === undefined) return [];
  if (except !== undefined && cidr === undefined) return [];
  if (cidr !== undefined) return addressesOf(universe, cidr, except ?? []);
  if (securityGroup !== undefined) return addressesOfPods(world, (pod) => groupsOf(world, pod).includes(securityGroup));
  if (namespaceSelector === undefined) return [];
  return addressesOfPods(world, (pod) => {
    if (!selectsNamespace(world, namespaceSelector, pod.namespace)) return false;
    return podSelector === undefined || selects(podSelector, pod.labels);
  });
}

function addressesOfPods(world: World, wanted: (pod: PolicyPod) => boolean): Ip[] {
  return world.pods.filter(wanted).flatMap(({ addresses }) => addresses);
}

const names: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132, icmp: 1, icmpv6: 58 };

/**
 * Protocol "absent: all"; "destination ports of tcp, udp and sctp; absent: all"; "message of icmp and icmpv6; absent: all". The words do
 * not say what ports or a message without their protocol are, nor an empty list of ports: such a rule allows nothing.
 */
function ruleHolds({ protocol, ports, icmp }: GroupRule, service: Service): boolean {
  if (protocol === undefined) return ports === undefined && icmp === undefined;
  if (service.protocol !== (names[protocol] ?? Number(protocol))) return false;
  const { port: asked } = service;
  if (ports !== undefined) {
    if (asked === undefined) return false;
    if (!ports.some(({ port, endPort = port }) => port <= asked && asked <= endPort)) return false;
  }
  if (icmp === undefined) return true;
  if (service.icmp === undefined || service.icmp.type !== icmp.type) return false;
  return icmp.code === undefined || service.icmp.code === icmp.code;
}
