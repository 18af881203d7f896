// The words about a cluster against a small API server: what they print, what they say of a cluster that is not as it should be.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { z } from "zod";
import { crds, emptyCluster, installKinds, type TestCluster } from "../../test/cli-cluster.ts";
import { aCluster, aLease, aLedger, aNetwork, someEndpoints } from "../../test/cli-objects.ts";
import { Fault, isFault } from "../base/fault.ts";
import type { Kube } from "../kube/contract.ts";
import { leases, nodes, pods } from "../kube/core-objects.ts";
import { blockLedgers, nodeEndpoints, nodeNetworks } from "../kube/objects.ts";
import { defineKind, meta } from "../kube/schema.ts";
import { showClusterStatus } from "./cluster-status.ts";
import type { OpenCluster } from "./cluster/open.ts";
import { showNodes } from "./nodes.ts";
import { showRoute } from "./route.ts";

const leaseName = "fairlead-controller";
const settle = async (): Promise<void> => {};

/** The usual cluster of tests, written as its programs would; uids are the server's own. */
async function fill(kube: Kube): Promise<void> {
  const usual = aCluster();
  const uids = new Map<string, string>();
  for (const node of usual.nodes) {
    const { metadata } = await kube.create(nodes, node);
    uids.set(metadata.name, metadata.uid ?? "");
    const body = { status: node.status };
    await kube.patch(nodes, metadata, { type: "merge", body }, { subresource: "status" });
  }
  for (const pod of usual.pods) {
    const spec = { ...pod.spec, containers: [{ name: "main", image: "none" }] };
    const made = await kube.create(pods, { ...pod, spec });
    uids.set(made.metadata.name, made.metadata.uid ?? "");
    const body = { status: pod.status };
    await kube.patch(
      pods,
      { namespace: "shop", name: made.metadata.name },
      { type: "merge", body },
      { subresource: "status" },
    );
  }
  const uidOf = (name: string): string => uids.get(name) ?? assert.fail(name);
  for (const [index, { metadata, endpoints }] of usual.endpoints.entries()) {
    const nodeUid = uidOf(metadata.name);
    const network = aNetwork(index + 1, { spec: { nodeUid }, status: { nodeUid } });
    const { metadata: made } = await kube.create(nodeNetworks, network);
    await kube.replace(nodeNetworks, { ...network, metadata: made }, { subresource: "status" });
    const held = endpoints.map(({ name, addresses }) => ({ pod: name, uid: uidOf(name), addresses }));
    await kube.create(nodeEndpoints, someEndpoints(index + 1, held, nodeUid));
  }
  await kube.create(blockLedgers, aLedger());
  const now = new Date().toISOString().replace("Z", "000Z");
  await kube.create(leases, aLease({ acquireTime: now, renewTime: now }, "kube-system"));
}

async function filledCluster(t: TestContext): Promise<TestCluster> {
  const place = await emptyCluster(t);
  await place.cluster.kube.create(namespaces, { metadata: { name: "shop" } });
  await installKinds(place.cluster.kube);
  await fill(place.cluster.kube);
  return place;
}

const namespaces = defineKind(
  { group: "", version: "v1", kind: "Namespace", plural: "namespaces", namespaced: false },
  z.object({ metadata: meta }),
);

const status = (cluster: OpenCluster, output: "table" | "json" = "table") =>
  showClusterStatus(cluster, { output, leaseName, settle });

void test("a cluster that is well, on one page and as JSON", async (t) => {
  const { cluster } = await filledCluster(t);
  const { text, well } = await status(cluster);
  assert.equal(well, true, text);
  assert.deepEqual(
    text
      .replace(/since [0-9]s/, "since 0s")
      .split("\n")
      .slice(1),
    [
      "2 nodes, 2 with blocks; 3 pods attached, 0 waiting, 1 on their nodes' network; controller node-1 leads since 0s; version 0.1.0",
      "",
      "RANGE         BLOCKS       USED      FREE   PENDING",
      "10.4.0.0/16   256 of /24   2 (1 %)   254    0",
      "",
      "nothing is wrong",
    ],
  );
  assert.match(text, /^cluster http:\/\/127\.0\.0\.1:\d+ \(context lab of /);
  const json = JSON.parse((await status(cluster, "json")).text);
  assert.deepEqual(
    [json.kind, json.well, json.cluster.context, json.nodes, json.findings],
    ["ClusterStatus", true, "lab", { total: 2, withBlocks: 2 }, []],
  );
});

void test("what is wrong is told with its node, its age and its cure, and only where a second look finds it too", async (t) => {
  const { cluster } = await filledCluster(t);
  const { kube } = cluster;
  await kube.remove(nodeNetworks, { name: "node-2" });
  const { text, well } = await status(cluster);
  assert.equal(well, false);
  assert.match(text, /^BAD +node-2 +\d+s +NodeNetwork node-2: is missing: no agent has reported from this node$/m);
  assert.match(text, /^ +cure: start the agent on node-2 and look at its log$/m);
  // Two lists that are read while a pod comes and goes do not agree; the second look finds nothing of it.
  const held = await kube.get(nodeEndpoints, { name: "node-1" });
  const ghost = someEndpoints(1, [{ pod: "ghost", addresses: ["10.4.1.9"] }]).endpoints;
  const haunted = await kube.replace(nodeEndpoints, { ...held, endpoints: [...held.endpoints, ...ghost] });
  assert.match((await status(cluster)).text, /shop\/ghost .*its pod is gone/);
  const looked = await showClusterStatus(cluster, {
    output: "json",
    leaseName,
    settle: async () => void (await kube.replace(nodeEndpoints, { ...haunted, endpoints: held.endpoints })),
  });
  const codes = JSON.parse(looked.text).findings.map((finding: { code: string }) => finding.code);
  assert.deepEqual(codes, ["no-agent"]);
});

void test("nodes in a table and as JSON, the ill ones with their reason", async (t) => {
  const { cluster } = await filledCluster(t);
  await cluster.kube.remove(nodeNetworks, { name: "node-2" });
  const lines = (await showNodes(cluster, { output: "table" })).split("\n");
  assert.match(
    lines[1] ?? "",
    /^node-1 +172\.30\.0\.11 fd00:30::11 +10\.4\.1\.0\/24 fd00:4:1::\/64 +1\/110 +<1 % +0\.1\.0 +\d+s +ready$/,
  );
  assert.match(lines[2] ?? "", /^node-2 +172\.30\.0\.12 fd00:30::12 +- +2\/110 +- +- +\d+s +BAD: is missing: no agent/);
  const [first] = JSON.parse(await showNodes(cluster, { output: "json" }));
  assert.deepEqual(
    [first.name, first.state, first.pods, first.capacity, first.blocks.length],
    ["node-1", "ready", 1, 110, 2],
  );
});

void test("a way through the cluster, and an address that is a service's", async (t) => {
  const { cluster } = await filledCluster(t);
  const options = { from: "web", to: "shop/db", socket: "/nowhere/status.sock" };
  const { text, well } = await showRoute(cluster, { ...options, output: "table" });
  assert.equal(well, true, text);
  assert.match(text, /node node-1 +10\.4\.2\.0\/24 via 172\.30\.0\.12 +NodeNetwork node-2.*BlockLedger v4-10-4-0-0-16/);
  const json = JSON.parse((await showRoute(cluster, { ...options, output: "json" })).text);
  assert.deepEqual([json.kind, json.verdict, json.ways.length, json.ways[0].hops.length], ["Route", "way", 4, 5]);
  await cluster.kube.create(services, {
    metadata: { name: "api", namespace: "shop" },
    spec: { clusterIPs: ["10.96.0.7"], clusterIP: "10.96.0.7", ports: [{ port: 80 }] },
  });
  await assert.rejects(
    showRoute(cluster, { ...options, to: "10.96.0.7", output: "table" }),
    /service "api" is no place: .*-n shop get/,
  );
  const free = await showRoute(cluster, { ...options, to: "10.4.2.99", output: "table" });
  assert.equal(free.well, false);
});

const services = defineKind(
  { group: "", version: "v1", kind: "Service", plural: "services", namespaced: true },
  z.looseObject({ metadata: meta }),
);

void test("beside an agent the way has the names of its links; an agent of another cluster is not asked further", async (t) => {
  const { cluster } = await filledCluster(t);
  const attached = (addresses: string[]): object => ({
    network: "fairlead",
    containerId: "c1",
    ifname: "eth0",
    addresses,
    netnsPath: "/n",
    wire: { hostLink: "fl0123456789abc" },
    state: "ready",
    createdMs: 0,
  });
  const agent = async (node: string): Promise<string> => {
    const directory = mkdtempSync(join(tmpdir(), "fairlead-cli-"));
    const http = createServer(({ url }, response) => {
      response.end(JSON.stringify(url === "/status" ? { node } : [attached(["10.4.1.2", "fd00:4:1::2"])]));
    });
    const socket = join(directory, "status.sock");
    await new Promise<void>((done) => http.listen(socket, done));
    t.after(() => {
      http.close();
      http.closeAllConnections();
      rmSync(directory, { recursive: true });
    });
    return socket;
  };
  const way = async (node: string): Promise<string> => {
    const options = { from: "web", to: "db", output: "table" } as const;
    return (await showRoute(cluster, { ...options, socket: await agent(node) })).text;
  };
  assert.match(await way("node-1"), /in by host link fl0123456789abc;/);
  assert.doesNotMatch(await way("elsewhere"), /fl0123456789abc/);
});

/** What is done to a cluster, and the one sentence that each word then says. */
const refusals: [title: string, spoil: (place: TestCluster) => unknown, words: RegExp][] = [
  [
    "without Fairlead",
    () => undefined,
    /^Fairlead is not installed in this cluster \(http:.*\): it does not know the kinds of fairlead\.dev; apply deploy\/fairlead\.yaml$/,
  ],
  [
    "with a part of Fairlead",
    async ({ cluster: { kube } }) => {
      await installKinds(kube);
      await kube.remove(crds, { name: "blockledgers.fairlead.dev" });
    },
    /^Fairlead is not wholly installed in this cluster .*: it does not know blockledgers; apply/,
  ],
  [
    "that forbids",
    async ({ server, cluster: { kube } }) => {
      await installKinds(kube);
      for (const [resource, group] of [
        ["nodes", ""],
        ["nodenetworks", "fairlead.dev"],
      ] as const) {
        const message = `${resource} is forbidden: User "x" cannot list resource "${resource}" in API group "${group}" at the cluster scope`;
        server.faults.add({
          verb: "list",
          resource,
          effect: { does: "answer", status: 403, reason: "Forbidden", message },
        });
      }
    },
    /does not let you read this: the right to list nodes is missing; the right to list nodenetworks\.fairlead\.dev is missing\./,
  ],
  [
    "that does not know the caller",
    async ({ server, cluster: { kube } }) => {
      await installKinds(kube);
      server.faults.add({ verb: "list", times: 99, effect: { does: "answer", status: 401, reason: "Unauthorized" } });
    },
    /does not accept these credentials; are they expired\?$/,
  ],
  [
    "that is not there",
    ({ server }) => server.startOutage(),
    /^the cluster at http:\/\/127\.0\.0\.1:\d+ cannot be reached from here$/,
  ],
];

for (const [title, spoil, words] of refusals) {
  void test(`a cluster ${title} is said in one sentence`, async (t) => {
    const place = await emptyCluster(t);
    await spoil(place);
    await assert.rejects(
      showNodes(place.cluster, { output: "table" }),
      (error) => isFault(error) && error instanceof Fault && (assert.match(error.message, words), true),
    );
  });
}

void test("a Lease that may not be read costs its line, not the page; an empty cluster is a page too", async (t) => {
  const { server, cluster } = await emptyCluster(t);
  await installKinds(cluster.kube);
  server.faults.add({
    verb: "list",
    resource: "leases",
    times: 2,
    effect: { does: "answer", status: 403, reason: "Forbidden", message: "no" },
  });
  const { text, well } = await status(cluster);
  assert.equal(well, true, text);
  assert.match(text, /0 nodes, 0 with blocks; 0 pods attached.*controller not known; no version reported/);
  assert.match(text, /^warning +- +- +controller: its Lease cannot be read: .*403/m);
  assert.equal(await showNodes(cluster, { output: "table" }), "the cluster has no nodes");
});
