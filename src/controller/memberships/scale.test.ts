// A large cluster: 20,000 pods on 400 nodes, 100 memberships. How long the first slices take, and what one pod costs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createLife } from "../../../test/controller/crossing.ts";
import { startReplica } from "../../../test/controller/replica.ts";
import { createWorld, type World } from "../../../test/controller/world.ts";
import { membershipSlices } from "../../kube/policy-objects.ts";

const nodeCount = 400;
const podsOfNode = 50;
const namespaceCount = 40;
const apps = 200;
const narrow = 90;
const medium = 8;

/** Time for all slices from nothing, and for a pass after one pod: three times what two busy cores took. */
const firstFillMaxMs = 20_000;
const onePodMaxMs = 1_000;

const fields = { apiVersion: "v1", metadata: { creationTimestamp: "2026-01-01T00:00:00Z", generation: 1 } };

/** Puts objects where the server has them, without a request for each. */
function put(world: World, shelf: string, name: string, parts: object, namespace?: string): void {
  const key = namespace === undefined ? name : `${namespace}/${name}`;
  const { metadata = {}, ...rest } = parts as { metadata?: object };
  const identity = { name, uid: `${shelf}-${key}`, ...(namespace === undefined ? {} : { namespace }) };
  world.server.store.put(shelf, key, {
    ...fields,
    ...rest,
    metadata: { ...fields.metadata, ...metadata, ...identity },
  });
}

const namespaceOf = (pod: number): string => `team-${pod % namespaceCount}`;

function putPod(world: World, pod: number, labels: object = {}): void {
  const spec = {
    nodeName: `node-${Math.floor(pod / podsOfNode)}`,
    containers: [{ name: "main", ports: [{ name: "http", containerPort: 8080, protocol: "TCP" }] }],
  };
  const metadata = { labels: { app: `app-${pod % apps}`, tier: pod % 2 === 0 ? "front" : "back", ...labels } };
  put(world, "/pods", `pod-${pod}`, { metadata, spec, status: { phase: "Running" } }, namespaceOf(pod));
}

function putNode(world: World, node: number): void {
  const [name, block] = [`node-${node}`, `10.${node >> 8}.${node & 255}.0/24`];
  const nodeUid = `/nodes-${name}`;
  put(world, "/nodes", name, { spec: { podCIDR: block, podCIDRs: [block] }, status: {} });
  const status = { nodeUid, blocks: [{ cidr: block }], addresses: [] };
  put(world, "fairlead.dev/nodenetworks", name, { spec: { nodeUid, agentVersion: "1" }, status });
  const endpoints = Array.from({ length: podsOfNode }, (_, at) => {
    const pod = node * podsOfNode + at;
    const [namespace, podName] = [namespaceOf(pod), `pod-${pod}`];
    const addresses = [`10.${node >> 8}.${node & 255}.${at + 2}`];
    return { namespace, name: podName, uid: `/pods-${namespace}/${podName}`, interface: "eth0", addresses };
  });
  put(world, "fairlead.dev/nodeendpoints", name, { nodeUid, endpoints });
}

/** Peers: one application of a team; all of a team; all of a tier. */
function putPolicies(world: World): void {
  const policy = (name: string, namespace: string, peer: object): void =>
    put(
      world,
      "networking.k8s.io/networkpolicies",
      name,
      { spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [{ from: [peer] }] } },
      namespace,
    );
  for (let at = 0; at < narrow; at += 1)
    policy(`app-${at}`, namespaceOf(at), { podSelector: { matchLabels: { app: `app-${at}` } } });
  for (let at = 0; at < medium; at += 1)
    policy(`team-${at}`, "team-0", { namespaceSelector: { matchLabels: { team: `team-${at}` } } });
  for (const tier of ["front", "back"])
    policy(tier, "team-0", { namespaceSelector: {}, podSelector: { matchLabels: { tier } } });
}

test("20,000 pods and 100 memberships: the first slices, and what one pod costs", async (t) => {
  const world = await createWorld({ assign: "cluster", ranges: [], serviceRanges: [] });
  t.after(() => world.close());
  for (let at = 0; at < namespaceCount; at += 1)
    put(world, "/namespaces", `team-${at}`, { metadata: { labels: { team: `team-${at}` } } });
  for (let node = 0; node < nodeCount; node += 1) putNode(world, node);
  for (let pod = 0; pod < nodeCount * podsOfNode; pod += 1) putPod(world, pod);
  putPolicies(world);
  const calls: string[] = [];
  const { cross } = createLife();
  const replica = await startReplica(world, {
    cross: (what, call) => {
      if (what.includes("membershipslices")) calls.push(what);
      return cross(what, call);
    },
  });
  t.after(() => replica.close());
  let bytes = 0;
  world.server.store.onChange((shelf, { after }) => {
    if (shelf === "fairlead.dev/membershipslices") bytes += after.encoded().length;
  });
  const measured = async (): Promise<{ ms: number; requests: number; kb: number }> => {
    await replica.catchUp();
    calls.length = 0;
    bytes = 0;
    const startedMs = performance.now();
    await replica.passOf("memberships");
    return { ms: Math.round(performance.now() - startedMs), requests: calls.length, kb: Math.round(bytes / 1000) };
  };
  const told = (what: string, { ms, requests, kb }: Awaited<ReturnType<typeof measured>>): void =>
    t.diagnostic(`${what}: ${ms} ms, ${requests} requests, ${kb} KB of slices`);

  const fill = await measured();
  told("first slices", fill);
  const { items } = await world.kube.list(membershipSlices);
  assert.equal(new Set(items.map(({ membership }) => membership)).size, narrow + medium + 2);
  // Of a team's 500 pods and of its five applications 100 each; half of all pods are of each tier.
  const expected = narrow * 100 + medium * 500 + nodeCount * podsOfNode;
  assert.equal(items.flatMap(({ endpoints }) => endpoints).length, expected);
  assert.equal(fill.requests, expected / 100, "every slice is full, and written once");
  assert.ok(fill.ms <= firstFillMaxMs, `${fill.ms} ms`);

  const idle = await measured();
  told("slices looked at once more", idle);
  assert.equal(idle.requests, 0);
  const rest = await measured();
  told("nothing new", rest);
  assert.equal(rest.requests, 0);

  putPod(world, 40, { tier: "none", other: "label" });
  const one = await measured();
  told("one pod leaves one of its three memberships", one);
  assert.equal(one.requests, 1);
  assert.ok(one.ms <= onePodMaxMs, `${one.ms} ms`);
  assert.ok(one.kb <= 20, `${one.kb} KB`);

  put(world, "/namespaces", "team-9", { metadata: { labels: { team: "team-9", note: "new" } } });
  const rejudged = await measured();
  told("a namespace's labels change: all pods are judged anew", rejudged);
  assert.equal(rejudged.requests, 0);
});
