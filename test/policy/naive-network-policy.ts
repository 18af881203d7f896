// NetworkPolicy, networking.k8s.io/v1, naively: what the API reference says of each field, one after the other. Comments in quotes are its words.

import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from "../../src/kube/policy-objects.ts";
import type { Ip } from "../../src/net/ip.ts";
import type { Direction, PolicyPod } from "../../src/policy/model.ts";
import { selects } from "./naive-parts.ts";
import {
  addressesOf,
  type Grant,
  type Grants,
  selectsNamespace,
  servicesWhere,
  type Universe,
} from "./naive-universe.ts";
import type { World } from "./world.ts";

/** What NetworkPolicies grant a pod in one direction; undefined where it is not isolated in it. */
export function networkPolicyGrants(world: World, universe: Universe, pod: PolicyPod, direction: Direction): Grants {
  const policies = world.objects.networkPolicies.filter(
    (policy) =>
      policy.metadata.namespace === pod.namespace &&
      selects(policy.spec.podSelector, pod.labels) &&
      typesOf(policy).includes(direction),
  );
  if (policies.length === 0) return undefined;
  const allowed = policies.flatMap((policy) =>
    rulesOf(policy, direction).flatMap(({ peers, ports }) =>
      ruleGrants({ world, universe, pod, direction, namespace: pod.namespace, peers, ports }),
    ),
  );
  return { allowed, audit: policies.every(({ metadata }) => metadata.annotations?.["fairlead.dev/mode"] === "audit") };
}

/** "If no policyTypes are specified … by default Ingress will always be set and Egress will be set if the NetworkPolicy has any egress rules." */
function typesOf({ spec: { policyTypes = [], egress = [] } }: NetworkPolicy): Direction[] {
  if (policyTypes.length > 0) return policyTypes.map((type) => (type === "Ingress" ? "ingress" : "egress"));
  return egress.length > 0 ? ["ingress", "egress"] : ["ingress"];
}

interface RuleText {
  peers: readonly NetworkPolicyPeer[];
  ports: readonly NetworkPolicyPort[];
}

/** "Empty or missing" are the same in `from`, `to` and `ports`. */
function rulesOf({ spec }: NetworkPolicy, direction: Direction): RuleText[] {
  if (direction === "ingress") return (spec.ingress ?? []).map(({ from = [], ports = [] }) => ({ peers: from, ports }));
  return (spec.egress ?? []).map(({ to = [], ports = [] }) => ({ peers: to, ports }));
}

interface RuleIn extends RuleText {
  world: World;
  universe: Universe;
  /** Whom the policy selects. */
  pod: PolicyPod;
  direction: Direction;
  namespace: string;
}

/** "Each rule allows traffic which matches both the from and ports sections." */
function ruleGrants(rule: RuleIn): Grant[] {
  const { world, universe, peers, ports } = rule;
  if (peers.length === 0) return portGrants(rule, universe.addresses, world.pods);
  return peers.flatMap((peer) => {
    const pods = podsOf(rule, peer);
    return portGrants(rule, new Set([...pods.flatMap(({ addresses }) => addresses), ...blockOf(universe, peer)]), pods);
  });

  /** `addresses`: all that the peer stands for; `pods`: those of them whose port names count. */
  function portGrants(of: RuleIn, addresses: ReadonlySet<Ip>, pods: readonly PolicyPod[]): Grant[] {
    if (ports.length === 0) return [{ peers: addresses, services: universe.services }];
    return ports.flatMap((item) => {
      const { port } = item;
      if (typeof port !== "string") return [{ peers: addresses, services: numbered(universe, item) }];
      if (item.endPort !== undefined) return []; // "when using endPort, port must be numeric"
      if (of.direction === "ingress") return [{ peers: addresses, services: named(universe, of.pod, item) }];
      return pods.map((peer) => ({ peers: new Set(peer.addresses), services: named(universe, peer, item) }));
    });
  }
}

/** "podSelector … in the policy's own namespace", "namespaceSelector … all pods", or both: "pods matching podSelector in the namespaces selected". */
function podsOf(
  { world, namespace }: RuleIn,
  { podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer,
): PolicyPod[] {
  if (ipBlock !== undefined) return []; // "if this field is set then neither of the other fields can be"
  if (podSelector === undefined && namespaceSelector === undefined) return []; // the server refuses it: a peer must be specified
  return world.pods.filter((pod) => {
    const inNamespace =
      namespaceSelector === undefined
        ? pod.namespace === namespace
        : selectsNamespace(world, namespaceSelector, pod.namespace);
    return inNamespace && selects(podSelector ?? {}, pod.labels);
  });
}

/** "except … CIDRs that should not be included". What cannot be read allows nothing. */
function blockOf(universe: Universe, { ipBlock, podSelector, namespaceSelector }: NetworkPolicyPeer): Ip[] {
  if (ipBlock === undefined || podSelector !== undefined || namespaceSelector !== undefined) return [];
  return addressesOf(universe, ipBlock.cidr, ipBlock.except ?? []);
}

const protocols = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const isPort = (port: number): boolean => port >= 1 && port <= 65_535;

/** "Protocol … defaults to TCP"; "if port is not provided, this matches all"; endPort "inclusive", "equal or greater than port". */
function numbered(universe: Universe, { protocol = "TCP", port, endPort }: NetworkPolicyPort): Set<string> {
  return servicesWhere(universe, (service) => {
    if (service.protocol !== protocols[protocol] || service.port === undefined) return false;
    if (typeof port !== "number") return endPort === undefined; // endPort "cannot be defined if the port field is not"
    const last = endPort ?? port;
    return isPort(port) && isPort(last) && port <= service.port && service.port <= last;
  });
}

/** "A named port on a pod", of the item's protocol. */
function named(universe: Universe, pod: PolicyPod, { protocol = "TCP", port }: NetworkPolicyPort): Set<string> {
  return servicesWhere(universe, (service) =>
    pod.ports.some(
      (mine) =>
        mine.name === port &&
        mine.protocol === protocols[protocol] &&
        mine.protocol === service.protocol &&
        mine.port === service.port,
    ),
  );
}
