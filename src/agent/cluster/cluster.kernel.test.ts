// An agent in a cluster from its first start on: what it waits for, whom it believes, what it publishes, and what it does when its node is another.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type ClusterAgent, makeClusterAgent, ownNode } from "../../../test/cluster-agent.ts";
import { makeNetns } from "../../../test/netns.ts";
import { until } from "../../../test/until.ts";
import { isFault } from "../../base/fault.ts";
import { nodes, pods } from "../../kube/core-objects.ts";
import { type Endpoint, nodeEndpoints, nodeNetworks } from "../../kube/objects.ts";

const blocks = ["10.4.1.0/24", "fd00:10:4:1::/64"];

interface BoundPod {
  name: string;
  node?: string;
  annotations?: Record<string, string>;
}

/** Makes a pod on the node; gives its uid. */
async function bindPod({ kube }: ClusterAgent, { name, node = ownNode, annotations = {} }: BoundPod): Promise<string> {
  const spec = { nodeName: node, containers: [{ name: "main", image: "test" }] };
  const pod = { metadata: { name, namespace: "default", annotations }, spec, status: {} };
  return (await kube.create(pods, pod)).metadata.uid ?? "";
}

/** ADD or DEL as a kubelet's runtime calls it. */
async function call(
  { cni }: ClusterAgent,
  verb: string,
  { pod, uid, netns, containerId = pod }: { pod: string; uid: string; netns?: string; containerId?: string },
): Promise<{ exitCode: number | null; stdout: string }> {
  const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod};K8S_POD_UID=${uid}`;
  return cni(verb, { containerId, ...(netns === undefined ? {} : { netns }), env: { CNI_ARGS: args } });
}

async function published({ kube }: ClusterAgent): Promise<readonly Endpoint[]> {
  const { items } = await kube.list(nodeEndpoints);
  return items.find(({ metadata }) => metadata.name === ownNode)?.endpoints ?? [];
}

/** An agent that serves in a cluster that has given it its blocks. */
async function servingAgent(t: TestContext): Promise<ClusterAgent> {
  const agent = await makeClusterAgent(t);
  await agent.makeNode();
  const { serving } = agent.start();
  await agent.giveBlocks(blocks);
  await serving;
  return agent;
}

void test("before it has blocks it tells what it waits for and takes no pod; then it serves and publishes", async (t) => {
  const agent = await makeClusterAgent(t);
  const waitsFor = async (): Promise<string> =>
    String(((await agent.ask("/status")) as { waitsFor?: string }).waitsFor);
  const { serving } = agent.start();
  await until("it waits for its Node", async () =>
    /Node node-1: kubelet has not/.test(await waitsFor().catch(() => "")),
  );
  await agent.makeNode();
  await until("it waits for the controller", async () => /status\.blocks of NodeNetwork node-1/.test(await waitsFor()));
  assert.equal(agent.hasConflist(), false);
  await until("it has written its NodeNetwork", async () => (await agent.network()) !== undefined);
  const written = await agent.network();
  assert.equal(written?.spec.agentVersion, "test");
  assert.equal(written?.metadata.ownerReferences?.[0]?.kind, "Node");
  await agent.giveBlocks(blocks);
  await serving;
  assert.equal(agent.hasConflist(), true);

  const uid = await bindPod(agent, { name: "a" });
  const added = await call(agent, "ADD", { pod: "a", uid, netns: makeNetns(t).path });
  assert.equal(added.exitCode, 0, added.stdout);
  await until("it is published", async () => (await published(agent)).length === 1);
  const [endpoint] = await published(agent);
  assert.deepEqual(endpoint, {
    namespace: "default",
    name: "a",
    uid,
    interface: "eth0",
    addresses: ["10.4.1.2", "fd00:10:4:1::2"],
  });
  assert.equal((await call(agent, "DEL", { pod: "a", uid })).exitCode, 0);
  await until("it is no more", async () => (await published(agent)).length === 0);
});

void test("blocks for a namesake of the Node are not taken", async (t) => {
  const agent = await makeClusterAgent(t);
  await agent.makeNode();
  agent.start();
  await until("NodeNetwork", async () => (await agent.network()) !== undefined);
  const status = { nodeUid: "another", blocks: blocks.map((cidr) => ({ cidr })), addresses: [] };
  await agent.kube.patch(
    nodeNetworks,
    { name: ownNode },
    { type: "merge", body: { status } },
    { subresource: "status" },
  );
  const seen = (await agent.network())?.metadata.resourceVersion;
  // What it writes next, it writes with this answer in its hands.
  await agent.kube.patch(nodeNetworks, { name: ownNode }, { type: "merge", body: { spec: { agentVersion: "old" } } });
  await until("it has written anew", async () => {
    const network = await agent.network();
    return network?.spec.agentVersion === "test" && network.metadata.resourceVersion !== seen;
  });
  assert.equal(agent.hasConflist(), false);
  await agent.giveBlocks(blocks);
  await until("it serves", () => agent.hasConflist());
});

void test("the sandbox of a pod whose name another has now is refused, and nothing is left of it; a static pod is known by its mirror", async (t) => {
  const agent = await servingAgent(t);
  const uid = await bindPod(agent, { name: "web-0" });
  const refused = await call(agent, "ADD", { pod: "web-0", uid: "an-older-one", netns: makeNetns(t).path });
  assert.equal(refused.exitCode, 1);
  assert.equal((JSON.parse(refused.stdout) as { code: number }).code, 122);
  assert.ok(refused.stdout.includes(`is another one now (uid ${uid}`), refused.stdout);
  assert.deepEqual(await agent.ask("/pods"), []);
  const good = await call(agent, "ADD", { pod: "web-0", uid, netns: makeNetns(t).path });
  assert.equal(good.exitCode, 0, good.stdout);

  // kubelet starts a static pod before its mirror is there
  const early = await call(agent, "ADD", { pod: "static-node-1", uid: "hash-of-file", netns: makeNetns(t).path });
  assert.equal(early.exitCode, 0, early.stdout);
  await until("under the hash", async () => (await published(agent)).some((one) => one.uid === "hash-of-file"));
  const mirror = await bindPod(agent, {
    name: "static-node-1",
    annotations: { "kubernetes.io/config.mirror": "hash-of-file" },
  });
  await until("under the mirror's uid", async () => (await published(agent)).some((one) => one.uid === mirror));
});

void test("routes lead to nodes of the segment; a node elsewhere is told in the NodeNetwork and by check", async (t) => {
  const agent = await servingAgent(t);
  const other = async (name: string, block: string, address: string): Promise<void> => {
    await agent.kube.create(nodeNetworks, { metadata: { name }, spec: { nodeUid: `u-${name}`, agentVersion: "test" } });
    await agent.giveBlocks([block], { name, addresses: [address] });
  };
  await other("node-2", "10.4.2.0/24", "172.30.0.12");
  await other("node-3", "10.4.3.0/24", "172.31.0.13");
  const routes = (): string => agent.node.run("ip", "route", "show", "proto", "142");
  await until("a route to node-2", () => /^10\.4\.2\.0\/24 via 172\.30\.0\.12 /m.test(routes()));
  await until("node-3 is told of", async () => (await agent.network())?.spec.faults?.length === 1);
  const fault = (await agent.network())?.spec.faults?.[0];
  assert.equal(fault?.code, "other-segment");
  assert.match(fault?.message ?? "", /node node-3 \(172\.31\.0\.13\)/);
  assert.doesNotMatch(routes(), /10\.4\.3\.0/);
  const findings = (await agent.ask("/check")) as { name: string; state: string; says: string }[];
  assert.match(findings.find(({ name, state }) => name === "cluster" && state === "bad")?.says ?? "", /node-3/);

  // A block that moves to another node is followed by its route.
  await agent.giveBlocks([], { name: "node-2", addresses: ["172.30.0.12"] });
  await agent.giveBlocks(["10.4.2.0/24"], { name: "node-3", addresses: ["172.30.0.13"] });
  await until("the route has moved", () => /^10\.4\.2\.0\/24 via 172\.30\.0\.13 /m.test(routes()));
  await until("no fault is left", async () => (await agent.network())?.spec.faults === undefined);
});

void test("with the API server gone it starts from what it has kept, keeps its routes, and publishes when the server is back", async (t) => {
  const agent = await servingAgent(t);
  await agent.kube.create(nodeNetworks, {
    metadata: { name: "node-2" },
    spec: { nodeUid: "u2", agentVersion: "test" },
  });
  await agent.giveBlocks(["10.4.2.0/24"], { name: "node-2", addresses: ["172.30.0.12"] });
  const routed = (): boolean => agent.node.run("ip", "route", "show", "proto", "142").includes("10.4.2.0/24 via");
  await until("a route to node-2", routed);
  const uid = await bindPod(agent, { name: "a" });
  await agent.stop();
  await agent.api.startOutage();
  await agent.start().serving;
  assert.ok(routed());
  const added = await call(agent, "ADD", { pod: "a", uid, netns: makeNetns(t).path });
  assert.equal(added.exitCode, 0, added.stdout);
  const findings = (await agent.ask("/check")) as { name: string; state: string }[];
  assert.ok(findings.some(({ name, state }) => name === "cluster" && state === "warn"));
  await agent.api.endOutage();
  await until("published", async () => (await published(agent)).length === 1);
  assert.ok(routed());
});

void test("an agent that cannot open its state file ends, and does not go on following the cluster", async (t) => {
  const { config, node } = await makeClusterAgent(t);
  const { paths } = config;
  const folder = dirname(paths.state);
  const [configFile, kubeconfig, inTheWay] = ["agent.yaml", "kubeconfig", "in-the-way"].map((name) =>
    join(folder, name),
  );
  writeFileSync(inTheWay ?? "", "");
  writeFileSync(
    kubeconfig ?? "",
    JSON.stringify({
      "current-context": "c",
      clusters: [{ name: "c", cluster: { server: "http://127.0.0.1:9" } }],
      contexts: [{ name: "c", context: { cluster: "c" } }],
    }),
  );
  const settings = {
    node: config.node,
    paths: { ...paths, state: `${inTheWay}/state` },
    addresses: { mode: "routes" },
    kubernetes: { kubeconfig },
  };
  writeFileSync(configFile ?? "", JSON.stringify(settings));
  const program = fileURLToPath(new URL("../../../bin/fairlead", import.meta.url));
  const child = spawn("ip", ["netns", "exec", node.name, program, "agent", "--config", configFile ?? ""]);
  t.after(() => child.kill("SIGKILL"));
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-4000)));
  await until("the agent has ended", () => child.exitCode !== null || child.signalCode !== null);
  assert.equal(child.exitCode, 1, stderr);
  assert.match(stderr, /in-the-way/);
});

void test("a node that is made anew under its name: the agent ends, and the next one takes nothing of the old node's blocks", async (t) => {
  const agent = await servingAgent(t);
  const uid = await bindPod(agent, { name: "a" });
  const netns = makeNetns(t).path;
  assert.equal((await call(agent, "ADD", { pod: "a", uid, netns })).exitCode, 0);
  await agent.stop();
  await agent.kube.remove(nodes, { name: ownNode });
  await agent.makeNode();
  const second = agent.start();
  await until("NodeNetwork of the new Node", async () => {
    const node = await agent.kube.get(nodes, { name: ownNode });
    return (await agent.network())?.spec.nodeUid === node.metadata.uid;
  });
  await agent.giveBlocks(["10.4.9.0/24", "fd00:10:4:9::/64"]);
  await second.serving;
  assert.ok(
    readdirSync(agent.config.paths.state).some((name) => name.startsWith("fairlead.db.foreign-")),
    "the old node's state is set aside",
  );
  assert.equal(((await agent.ask("/pods")) as unknown[]).length, 1, "the living pod is read back from its link");
  const added = await call(agent, "ADD", {
    pod: "b",
    uid: await bindPod(agent, { name: "b" }),
    netns: makeNetns(t).path,
  });
  assert.match(added.stdout, /10\.4\.9\.2/);
  assert.equal((await call(agent, "DEL", { pod: "a", uid })).exitCode, 0);
  assert.equal(((await agent.ask("/pods")) as unknown[]).length, 1);

  await agent.kube.remove(nodes, { name: ownNode });
  await agent.makeNode();
  await assert.rejects(second.done, (error) => isFault(error, "node-replaced"));
});
