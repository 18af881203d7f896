// What holds whatever people write: objects only add, their order is nothing, explain and verdict are of one mind.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { address, podOf } from "../../test/policy-world.ts";
import type {
  GroupRule,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  SecurityGroup,
  SecurityGroupBinding,
} from "../kube/policy-objects.ts";
import { clusterModel } from "./build-model.ts";
import { type Judge, createJudge } from "./judge.ts";
import type { Packet, PolicyObjects } from "./model.ts";

const pods = [
  podOf("a/1", { labels: { app: "x" }, ports: { "http/tcp": 80 } }, 1),
  podOf("a/2", { labels: { app: "y" }, ports: { "http/tcp": 81 }, node: "n2" }, 2),
  podOf("b/3", { labels: { app: "x" } }, 3),
  podOf("b/4", { labels: {}, ports: { "http/udp": 80 }, node: "n2" }, 4),
];
const nodes = new Map([
  ["n1", [address("192.168.0.1")]],
  ["n2", [address("192.168.0.2")]],
]);

const label = fc.constantFrom("x", "y", "z");
const podSelector = fc.oneof(
  fc.constant({}),
  label.map((app) => ({ matchLabels: { app } })),
  label.map((app) => ({ matchExpressions: [{ key: "app", operator: "NotIn" as const, values: [app] }] })),
);
const namespaceSelector = fc.oneof(
  fc.constant({}),
  fc.constantFrom("a", "b").map((name) => ({ matchLabels: { "kubernetes.io/metadata.name": name } })),
);
const block = fc.constantFrom<NonNullable<NetworkPolicyPeer["ipBlock"]>>(
  { cidr: "10.0.0.0/24", except: ["10.0.0.2/31"] },
  { cidr: "10.0.0.3/31" },
  { cidr: "0.0.0.0/0", except: ["8.0.0.0/8"] },
  { cidr: "::/0" },
  { cidr: "bad" },
);
const policyPeers = fc.array(
  fc.oneof(
    podSelector.map((podSelector) => ({ podSelector })),
    namespaceSelector.map((namespaceSelector) => ({ namespaceSelector })),
    fc.record({ namespaceSelector, podSelector }),
    block.map((ipBlock) => ({ ipBlock })),
  ),
  { maxLength: 2 },
);
const policyPorts = fc.array(
  fc.constantFrom<NetworkPolicyPort>(
    { port: 80 },
    { port: 80, endPort: 81 },
    { port: "http" },
    { protocol: "UDP" },
    { protocol: "SCTP", port: 80 },
    { port: 99, endPort: 1 },
  ),
  { maxLength: 2 },
);
const ingress = fc.array(fc.record({ from: policyPeers, ports: policyPorts }, { requiredKeys: [] }), { maxLength: 2 });
const egress = fc.array(fc.record({ to: policyPeers, ports: policyPorts }, { requiredKeys: [] }), { maxLength: 2 });
const policyTypes = fc.subarray<"Ingress" | "Egress">(["Ingress", "Egress"], { minLength: 1 });

const policies = fc
  .array(
    fc.record({
      namespace: fc.constantFrom("a", "b"),
      spec: fc.record({ podSelector, policyTypes, ingress, egress }, { requiredKeys: ["podSelector"] }),
    }),
    { maxLength: 4 },
  )
  .map((made) =>
    made.map(({ namespace, spec }, at): NetworkPolicy => ({ metadata: { namespace, name: `p${at}` }, spec })),
  );

const groupNames = ["g0", "g1", "g2"];
const groupPeer = fc.oneof(
  block,
  fc.constantFrom(...groupNames, "ghost").map((securityGroup) => ({ securityGroup })),
  fc.record({ namespaceSelector, podSelector }),
);
const groupPorts = fc.constantFrom<Omit<GroupRule, "from" | "to">>(
  {},
  { protocol: "tcp", ports: [{ port: 80 }] },
  { protocol: "17" },
  { protocol: "icmp", icmp: { type: 8 } },
  { protocol: "tcp", ports: [{ port: 81 }, { port: 9, endPort: 1 }] },
  { ports: [{ port: 80 }] },
);
const groupPeers = fc.array(groupPeer, { minLength: 1, maxLength: 2 });
const groupIngress = fc.array(
  fc.tuple(groupPorts, groupPeers).map(([ports, from]) => ({ ...ports, from })),
  { maxLength: 2 },
);
const groupEgress = fc.array(
  fc.tuple(groupPorts, groupPeers).map(([ports, to]) => ({ ...ports, to })),
  { maxLength: 2 },
);
const groups = fc
  .array(
    fc.record(
      {
        ingress: groupIngress,
        egress: groupEgress,
        bindableFrom: namespaceSelector,
        mode: fc.constantFrom("enforce" as const, "audit" as const),
      },
      { requiredKeys: ["bindableFrom"] },
    ),
    { maxLength: 3 },
  )
  .map((specs) => specs.map((spec, at): SecurityGroup => ({ metadata: { name: `g${at}` }, spec })));
const bindings = fc
  .array(
    fc.record({
      namespace: fc.constantFrom("a", "b"),
      podSelector,
      groups: fc.uniqueArray(fc.constantFrom(...groupNames), { minLength: 1, maxLength: 2 }),
    }),
    { maxLength: 3 },
  )
  .map((made) =>
    made.map(({ namespace, ...spec }, at): SecurityGroupBinding => ({ metadata: { namespace, name: `b${at}` }, spec })),
  );

const worlds: fc.Arbitrary<PolicyObjects> = fc.record({
  namespaces: fc.constant([{ metadata: { name: "a" } }, { metadata: { name: "b" } }]),
  serviceAccounts: fc.constant([]),
  networkPolicies: policies,
  groups,
  bindings,
  groupPolicies: fc.constant([]),
});

const judgeOf = (objects: PolicyObjects): Judge => createJudge(clusterModel(objects, pods, nodes));

const ends = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "8.8.8.8", "1.1.1.1", "192.168.0.1"].map(address);
const ends6 = ["fd00::1", "fd00::2", "fd00::3", "2001:db8::1"].map(address);
const traffic: readonly Omit<Packet, "source" | "destination">[] = [
  { protocol: 6, destinationPort: 80 },
  { protocol: 6, destinationPort: 81 },
  { protocol: 17, destinationPort: 80 },
  { protocol: 132, destinationPort: 80 },
  { protocol: 1, icmp: { type: 8, code: 0 } },
  { protocol: 47 },
];
const packets: readonly Packet[] = [ends, ends6].flatMap((family) =>
  family.flatMap((source) =>
    family.flatMap((destination) => traffic.map((rest) => ({ source, destination, ...rest }))),
  ),
);

/** The same object with its rules in the other order. */
function turnedRules<T extends NetworkPolicy | SecurityGroup>(object: T): T {
  const { ingress, egress } = object.spec;
  const spec = {
    ...object.spec,
    ...(ingress === undefined ? {} : { ingress: ingress.toReversed() }),
    ...(egress === undefined ? {} : { egress: egress.toReversed() }),
  };
  return { ...object, spec };
}

test("a verdict does not depend on the order of objects, pods or rules", () => {
  fc.assert(
    fc.property(worlds, (objects) => {
      const turned: PolicyObjects = {
        ...objects,
        namespaces: objects.namespaces.toReversed(),
        networkPolicies: objects.networkPolicies.map(turnedRules).reverse(),
        groups: objects.groups.map(turnedRules).reverse(),
        bindings: objects.bindings.toReversed(),
      };
      const one = judgeOf(objects);
      const other = createJudge(clusterModel(turned, pods.toReversed(), nodes));
      for (const packet of packets) assert.deepEqual(one.verdict(packet), other.verdict(packet));
    }),
    { numRuns: 150 },
  );
});

test("of policies that isolate the same pods alike, one more only adds", () => {
  fc.assert(
    fc.property(policies, policies, (some, more) => {
      // Everybody is isolated in both directions to begin with, so a further policy can only allow.
      const isolated = ["a", "b"].map((namespace): NetworkPolicy => ({
        metadata: { namespace, name: "isolated" },
        spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
      }));
      const renamed = more.map(({ metadata, spec }) => ({
        metadata: { ...metadata, name: `more-${metadata.name}` },
        spec,
      }));
      const of = (networkPolicies: NetworkPolicy[]): Judge =>
        judgeOf({
          namespaces: [{ metadata: { name: "a" } }, { metadata: { name: "b" } }],
          serviceAccounts: [],
          networkPolicies,
          groups: [],
          bindings: [],
          groupPolicies: [],
        });
      const fewer = of([...isolated, ...some]);
      const all = of([...isolated, ...some, ...renamed]);
      for (const packet of packets) {
        if (fewer.verdict(packet).passes) assert.ok(all.verdict(packet).passes, JSON.stringify(packet));
      }
    }),
    { numRuns: 150 },
  );
});

test("explain says what the verdict does", () => {
  fc.assert(
    fc.property(worlds, (objects) => {
      const judge = judgeOf(objects);
      for (const packet of packets) {
        const { passes, deniedBy, audited } = judge.verdict(packet);
        const { always, judgements } = judge.explain(packet);
        const denied = judgements.find(({ outcome }) => outcome === "denied");
        assert.equal(denied?.layer, deniedBy?.layer);
        assert.equal(passes, denied === undefined);
        if (always !== undefined) assert.ok(passes && judgements.length === 0);
        if (!passes) continue;
        assert.deepEqual(
          judgements.filter(({ outcome }) => outcome === "audited").map(({ layer }) => layer),
          audited.map(({ layer }) => layer),
        );
      }
    }),
    { numRuns: 100 },
  );
});

test("pods whose layers have one id have one layer", () => {
  fc.assert(
    fc.property(worlds, (objects) => {
      // Each pod is asked by itself, so that nothing is shared.
      const layers = pods.flatMap((pod) => {
        const { subjects } = clusterModel(objects, [pod], nodes);
        return subjects.flatMap(({ egress, ingress }) => [...egress, ...ingress]);
      });
      const byId = new Map(layers.map((layer) => [layer.id, layer]));
      for (const layer of layers) assert.deepEqual(layer, byId.get(layer.id));
    }),
    { numRuns: 300 },
  );
});
