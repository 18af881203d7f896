// What decides: for each feature the world without it, as somebody would see it who does not know the feature. A packet whose answer
// differs there was decided by it.

import type {
  GroupPeer,
  GroupRule,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  SecurityGroup,
} from "../../src/kube/policy-objects.ts";
import type { PolicyObjects } from "../../src/policy/model.ts";
import { readNetwork } from "./naive-parts.ts";
import { groupNames } from "./random-groups.ts";
import { metadataName } from "./random-objects.ts";
import type { World } from "./world.ts";

type Rewrite = (world: World) => World;

const withObjects = (change: (objects: PolicyObjects) => Partial<PolicyObjects>): Rewrite => {
  return (world) => ({ ...world, objects: { ...world.objects, ...change(world.objects) } });
};

/** Each rule's lists changed; absent ones stay absent. */
function ofPolicies(change: {
  peers?: (peers: NetworkPolicyPeer[]) => NetworkPolicyPeer[];
  ports?: (port: NetworkPolicyPort) => NetworkPolicyPort;
}): Rewrite {
  const { peers = (same) => same, ports = (same) => same } = change;
  const policy = ({ metadata, spec: { ingress, egress, ...spec } }: NetworkPolicy): NetworkPolicy => ({
    metadata,
    spec: {
      ...spec,
      ...(ingress && {
        ingress: ingress.map((rule) => ({
          ...(rule.from && { from: peers(rule.from) }),
          ...(rule.ports && { ports: rule.ports.map(ports) }),
        })),
      }),
      ...(egress && {
        egress: egress.map((rule) => ({
          ...(rule.to && { to: peers(rule.to) }),
          ...(rule.ports && { ports: rule.ports.map(ports) }),
        })),
      }),
    },
  });
  return withObjects(({ networkPolicies }) => ({ networkPolicies: networkPolicies.map(policy) }));
}

/** Each peer and the rest of each rule changed; a peer that becomes undefined goes. */
function ofGroups(change: {
  peer?: (peer: GroupPeer) => GroupPeer | undefined;
  rule?: <R extends GroupRule>(rule: R) => R;
}): Rewrite {
  const { peer = (same) => same, rule = (same) => same } = change;
  const peers = (of: GroupPeer[]): GroupPeer[] => of.map(peer).filter((kept) => kept !== undefined);
  return eachGroup(({ ingress, egress, ...spec }) => ({
    ...spec,
    ...(ingress && { ingress: ingress.map((one) => rule({ ...one, from: peers(one.from) })) }),
    ...(egress && { egress: egress.map((one) => rule({ ...one, to: peers(one.to) })) }),
  }));
}

function eachGroup(change: (spec: SecurityGroup["spec"]) => SecurityGroup["spec"]): Rewrite {
  return withObjects(({ groups }) => ({
    groups: groups.map(({ metadata, spec }) => ({ metadata, spec: change(spec) })),
  }));
}

const eachPeer = (change: (peer: NetworkPolicyPeer) => NetworkPolicyPeer): Rewrite =>
  ofPolicies({ peers: (peers) => peers.map(change) });

const readable = (text: string): string => (readNetwork(text) === undefined ? "0.0.0.0/0" : text);
const known = (names: readonly string[]): string[] => names.filter((name) => groupNames.some((good) => good === name));

/** Told by name in the test that counts them. */
export const features: Readonly<Record<string, Rewrite>> = {
  "named port": (world) => ({ ...world, pods: world.pods.map((pod) => ({ ...pod, ports: [] })) }),
  "protocol of a named port": (world) => ({
    ...world,
    pods: world.pods.map((pod) => ({ ...pod, ports: pod.ports.map((port) => ({ ...port, protocol: 6 })) })),
  }),
  "except of an ipBlock": eachPeer((peer) => (peer.ipBlock ? { ...peer, ipBlock: { cidr: peer.ipBlock.cidr } } : peer)),
  "except of a group": ofGroups({ peer: (peer) => (peer.except ? { ...peer, except: [] } : peer) }),
  "unreadable network": (world) => {
    const policies = eachPeer((peer) =>
      peer.ipBlock === undefined
        ? peer
        : { ipBlock: { cidr: readable(peer.ipBlock.cidr), except: (peer.ipBlock.except ?? []).filter(readNetwork) } },
    );
    const groups = ofGroups({
      peer: (peer) =>
        peer.cidr === undefined ? peer : { cidr: readable(peer.cidr), except: (peer.except ?? []).filter(readNetwork) },
    });
    return groups(policies(world));
  },
  endPort: ofPolicies({
    ports: (port) => (typeof port.port === "number" && port.endPort ? { ...port, endPort: port.port } : port),
  }),
  "endPort of a group": ofGroups({
    rule: (rule) => (rule.ports ? { ...rule, ports: rule.ports.map(({ port }) => ({ port })) } : rule),
  }),
  "TCP by default": ofPolicies({ ports: (port) => ({ protocol: "UDP", ...port }) }),
  "AND peer": ofPolicies({
    peers: (peers) =>
      peers.flatMap(({ podSelector, namespaceSelector, ...peer }) =>
        podSelector && namespaceSelector
          ? [{ podSelector }, { namespaceSelector }]
          : [{ ...peer, ...(podSelector && { podSelector }), ...(namespaceSelector && { namespaceSelector }) }],
      ),
  }),
  "podSelector of a namespaceSelector in a group": ofGroups({
    peer: (peer) => (peer.podSelector ? { ...peer, podSelector: {} } : peer),
  }),
  "own namespace of a podSelector": eachPeer((peer) =>
    peer.podSelector && !peer.namespaceSelector ? { ...peer, namespaceSelector: {} } : peer,
  ),
  policyTypes: withObjects(({ networkPolicies }) => ({
    networkPolicies: networkPolicies.map(({ metadata, spec }) => ({ metadata, spec: { ...spec, policyTypes: [] } })),
  })),
  "policyTypes by default": withObjects(({ networkPolicies }) => ({
    networkPolicies: networkPolicies.map(({ metadata, spec }) => ({
      metadata,
      spec: {
        ...spec,
        policyTypes: spec.policyTypes?.length ? spec.policyTypes : ["Ingress" as const, "Egress" as const],
      },
    })),
  })),
  audit: eachGroup((spec) => ({ ...spec, mode: "enforce" })),
  "audit of a NetworkPolicy": withObjects(({ networkPolicies }) => ({
    networkPolicies: networkPolicies.map(({ metadata, spec }) => ({
      metadata: { ...metadata, annotations: {} },
      spec,
    })),
  })),
  "enforce beside audit": eachGroup((spec) => ({ ...spec, mode: "audit" })),
  "absent egress of a group": eachGroup((spec) => ({ egress: [], ...spec })),
  "empty egress of a group": eachGroup(({ egress, ...spec }) => ({ ...spec, ...(egress?.length && { egress }) })),
  "member of a group": ofGroups({ peer: (peer) => (peer.securityGroup === undefined ? peer : undefined) }),
  "code of ICMP": ofGroups({ rule: (rule) => (rule.icmp ? { ...rule, icmp: { type: rule.icmp.type } } : rule) }),
  bindableFrom: eachGroup((spec) => ({ ...spec, bindableFrom: {} })),
  "unknown group": withObjects(({ bindings }) => ({
    bindings: bindings
      .map(({ metadata, spec }) => ({ metadata, spec: { ...spec, groups: known(spec.groups) } }))
      .filter(({ spec }) => spec.groups.length > 0),
  })),
  serviceAccountSelector: withObjects(({ bindings }) => ({
    bindings: bindings.map(({ metadata, spec: { groups, podSelector = {} } }) => ({
      metadata,
      spec: { groups, podSelector },
    })),
  })),
  SecurityGroupPolicy: withObjects(() => ({ groupPolicies: [] })),
  "namespace without its object": withObjects(({ namespaces }) => ({
    namespaces: [
      ...namespaces,
      { metadata: { name: "void", labels: { env: "a", team: "b", [metadataName]: "void" } } },
    ],
  })),
  "own node": (world) => ({ ...world, nodes: new Map() }),
  "credentials of the metadata address": (world) => ({ ...world, metadata: "open" }),
  "break-glass of a namespace": withObjects(({ namespaces }) => ({
    namespaces: namespaces.map(({ metadata: { annotations = {}, ...metadata } }) => {
      const { "fairlead.dev/break-glass": _, ...others } = annotations;
      return { metadata: { ...metadata, annotations: others } };
    }),
  })),
  "break-glass of a node": (world) => ({ ...world, nodeBreakGlass: new Map() }),
  "pods outside the source guard": (world) => ({
    ...world,
    pods: world.pods.map((pod) => ({ ...pod, sourceGuard: "on" })),
  }),
  "names from resolvers": (world) => ({ ...world, allowDns: null }),
  "groups judge the own node": (world) => ({ ...world, groupsJudgeOwnNode: !world.groupsJudgeOwnNode }),
};
