// The roster, which works only on what has changed, against a plain reading of everything, after each of many random changes.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { present } from "../../base/assert.ts";
import type { KubeObject, ObjectRef } from "../../kube/contract.ts";
import { type Node, nodes, type Pod, pods } from "../../kube/core-objects.ts";
import { type NodeEndpoints, nodeEndpoints, type NodeNetwork, nodeNetworks } from "../../kube/objects.ts";
import { namespaces, networkPolicies, securityGroupBindings, securityGroups } from "../../kube/policy-objects.ts";
import { parseCidr } from "../../net/cidr.ts";
import { indexMembers } from "../../policy/members.ts";
import { policyPodOf } from "../../policy/policy-pod.ts";
import { neededMemberships, type ReadObjects, readObjects } from "../../policy/read-objects.ts";
import { createRoster, type Roster } from "./roster.ts";

/** A shelf of objects as a cache gives them. */
function shelf<T extends KubeObject>() {
  const objects = new Map<string, T>();
  const keyOf = ({ namespace = "", name }: ObjectRef): string => `${namespace}/${name}`;
  return {
    get: (ref: ObjectRef) => objects.get(keyOf(ref)),
    all: () => [...objects.values()],
    put: (object: T) => objects.set(keyOf(object.metadata), object),
    drop: (ref: ObjectRef) => objects.delete(keyOf(ref)),
  };
}

function createWorld() {
  return {
    nodes: shelf<Node>(),
    networks: shelf<NodeNetwork>(),
    endpoints: shelf<NodeEndpoints>(),
    pods: shelf<Pod>(),
  };
}
type World = ReturnType<typeof createWorld>;

const nodeName = fc.constantFrom("n1", "n2");
const podName = fc.constantFrom("a", "b", "c", "d");
const namespace = fc.constantFrom("shop", "bank");
const app = fc.constantFrom("web", "db", undefined);
const seldom = fc.nat(7).map((drawn) => drawn === 0);
/** Of which life of a node or pod something is: of that of a namesake seldom. */
const life = seldom.map((other) => (other ? "2" : "1"));
/** Blocks of which the nodes have some, and addresses in and outside of them. */
const blocks = fc.subarray(["10.4.1.0/30", "10.4.1.4/30", "fd00::/126"], { minLength: 1 });
const address = fc.constantFrom("10.4.1.1", "10.4.1.2", "10.4.1.3", "10.4.1.5", "10.4.9.1", "fd00::1", "fd00::2");

const change = fc.oneof(
  { weight: 1, arbitrary: fc.record({ do: fc.constant("node" as const), node: nodeName, life, gone: seldom }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("network" as const), node: nodeName, life, blocks }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("endpoints" as const),
      node: nodeName,
      life,
      of: fc.uniqueArray(fc.record({ nth: fc.nat(7), address, stranger: seldom }), {
        maxLength: 5,
        selector: ({ nth }) => nth,
      }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("pod" as const),
      pod: podName,
      namespace,
      life,
      node: nodeName,
      app,
      phase: fc.constantFrom("Running", "Running", "Succeeded"),
      hostNetwork: seldom,
      port: fc.constantFrom(undefined, 80, 81),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("no pod" as const), pod: podName, namespace }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("policy" as const), policy: fc.nat(2), closed: fc.boolean() }) },
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

/** What people have written, in three versions of policies and two of who may bind. */
function objectsOf(policy: number, closed: boolean): ReadObjects {
  const web = { podSelector: { matchLabels: { app: "web" } } };
  const peers = [[web], [web, { namespaceSelector: {} }], [{ namespaceSelector: { matchLabels: { money: "yes" } } }]];
  const bindableFrom = closed ? { matchLabels: { money: "yes" } } : {};
  return readObjects({
    namespaces: [
      namespaces.parse({ metadata: { name: "shop" } }),
      namespaces.parse({ metadata: { name: "bank", labels: { money: "yes" } } }),
    ],
    serviceAccounts: [],
    networkPolicies: [
      networkPolicies.parse({
        metadata: { name: "p", namespace: "shop" },
        spec: { podSelector: {}, ingress: [{ from: peers[policy] }] },
      }),
    ],
    groups: [
      securityGroups.parse({
        metadata: { name: "g" },
        spec: { bindableFrom, ingress: [{ from: [{ securityGroup: "g" }] }] },
      }),
    ],
    bindings: ["shop", "bank"].map((space) =>
      securityGroupBindings.parse({
        metadata: { name: "b", namespace: space },
        spec: { podSelector: { matchLabels: { app: "db" } }, groups: ["g"] },
      }),
    ),
    groupPolicies: [],
  });
}

function make(world: World, step: Exclude<Change, { do: "policy" }>): void {
  switch (step.do) {
    case "node":
      if (!step.gone) world.nodes.put(nodes.parse({ metadata: { name: step.node, uid: `${step.node}-${step.life}` } }));
      else world.nodes.drop({ name: step.node });
      return;
    case "network": {
      const nodeUid = `${step.node}-${step.life}`;
      const status = { nodeUid, blocks: step.blocks.map((cidr) => ({ cidr })), addresses: [] };
      const spec = { nodeUid, agentVersion: "1" };
      return void world.networks.put(nodeNetworks.parse({ metadata: { name: step.node }, spec, status }));
    }
    case "endpoints": {
      const own = world.pods.all().filter(({ spec }) => spec.nodeName === step.node);
      const endpoints = step.of.flatMap(({ nth, address, stranger }) => {
        const { name, namespace = "", uid = "" } = own[nth]?.metadata ?? {};
        if (name === undefined) return [];
        return [{ namespace, name, uid: stranger ? "other" : uid, interface: "eth0", addresses: [address] }];
      });
      const nodeUid = `${step.node}-${step.life}`;
      return void world.endpoints.put(nodeEndpoints.parse({ metadata: { name: step.node }, nodeUid, endpoints }));
    }
    case "pod": {
      const { pod: name, node, hostNetwork, phase, port } = step;
      const uid = `${step.namespace}-${name}-${step.life}`;
      const labels = step.app === undefined ? {} : { app: step.app };
      const containers = port === undefined ? [] : [{ ports: [{ name: "http", containerPort: port }] }];
      const spec = { nodeName: node, hostNetwork, containers };
      const metadata = { name, namespace: step.namespace, uid, labels };
      return void world.pods.put(pods.parse({ metadata, spec, status: { phase } }));
    }
    case "no pod":
      return void world.pods.drop({ name: step.pod, namespace: step.namespace });
    default:
      return step satisfies never;
  }
}

/** Addresses with their named ports, of each membership, by reading everything. */
function plainly(world: World, objects: ReadObjects): Map<string, Set<string>> {
  const all = world.pods.all().flatMap((pod) => {
    const name = pod.spec.nodeName ?? "";
    const uid = world.nodes.get({ name })?.metadata.uid;
    const network = world.networks.get({ name });
    const published = world.endpoints.get({ name });
    const sure = uid !== undefined && network?.status?.nodeUid === uid && published?.nodeUid === uid;
    const own = sure ? published.endpoints.filter((each) => each.uid === pod.metadata.uid) : [];
    const addresses = own
      .flatMap((each) => each.addresses)
      .filter((ip) => network?.status?.blocks.some(({ cidr }) => holds(cidr, ip)));
    return policyPodOf(pod, addresses) ?? [];
  });
  const index = indexMembers(all, objects);
  return new Map(
    neededMemberships(objects).map((definition) => [
      definition.key,
      new Set(index.membersOf(definition).map(({ address }) => address)),
    ]),
  );
}

/** Another way than the roster's to see whether a network holds an address: of two that do, both make the same smaller one. */
function holds(cidr: string, ip: string): boolean {
  const bits = ip.includes(":") ? 126 : 30;
  const last = ip.includes(":") ? Number(ip.split("::")[1]) : Number(ip.split(".")[3]);
  const base = ip.includes(":")
    ? `fd00::/${bits}`
    : `${ip.split(".").slice(0, 3).join(".")}.${last - (last % 4)}/${bits}`;
  return parseCidr(base) === cidr;
}

/** Gives how many members there were. */
function check(roster: Roster, world: World, objects: ReadObjects): number {
  let seen = 0;
  for (const [key, addresses] of plainly(world, objects)) {
    const members = roster.members(key as never);
    const found = [...members.keys()].flatMap((id) => present(members.get(id), id).addresses);
    assert.deepEqual(found.toSorted(), [...addresses].toSorted());
    seen += found.length;
    for (const id of members.keys()) assert.ok(roster.isAttached(id), `${id} is attached`);
    assert.equal(roster.members(key as never), members, "the same one for as long as nothing changes");
    for (const id of members.keys()) {
      const { addresses: own, ports = [] } = present(members.get(id), id);
      const owners = world.pods
        .all()
        .filter((pod) =>
          world.endpoints
            .get({ name: pod.spec.nodeName ?? "" })
            ?.endpoints.some(({ uid, addresses: theirs }) => uid === pod.metadata.uid && theirs[0] === own[0]),
        );
      const right = owners.some((pod) => JSON.stringify(pod.spec.ports ?? []) === JSON.stringify(ports));
      assert.ok(right, "named ports are those of a pod that has the address");
    }
  }
  return seen;
}

test("after any change the roster says what a plain reading says", () => {
  let seen = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 30, maxLength: 90, size: "max" }), (steps) => {
      const world = createWorld();
      const roster = createRoster(world);
      let objects = objectsOf(0, false);
      let definitions = neededMemberships(objects);
      // From the start both nodes are there and have blocks: else most changes mean nothing.
      for (const node of ["n1", "n2"] as const) {
        make(world, { do: "node", node, life: "1", gone: false });
        make(world, { do: "network", node, life: "1", blocks: ["10.4.1.0/30", "fd00::/126"] });
      }
      for (const step of steps) {
        if (step.do === "policy") {
          objects = objectsOf(step.policy, step.closed);
          definitions = neededMemberships(objects);
        } else make(world, step);
        roster.update(objects, definitions);
        seen += check(roster, world, objects);
      }
    }),
    { numRuns: 150 },
  );
  assert.ok(seen > 1000, `only ${seen} members were seen: this proves nothing`);
});
