// Policy on a node from end to end: objects of the API server in, real packets out; on new pods, on running ones, and on open connections.

import assert from "node:assert/strict";
import { once } from "node:events";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { test, type TestContext } from "node:test";
import { type ClusterAgent, makeClusterAgent, ownNode } from "../../../test/cluster-agent.ts";
import { makeNetns, type TestNetns } from "../../../test/netns.ts";
import { until } from "../../../test/until.ts";
import { pods } from "../../kube/core-objects.ts";
import {
  type NetworkPolicy,
  networkPolicies,
  securityGroupBindings,
  securityGroups,
} from "../../kube/policy-objects.ts";

const blocks = ["10.4.1.0/24", "fd00:10:4:1::/64"];

interface TestPod {
  name: string;
  uid: string;
  netns: TestNetns;
  /** IPv4 and IPv6. */
  addresses: readonly string[];
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

/** Makes a pod with these labels, and attaches it as a runtime does. */
async function addPod(
  t: TestContext,
  { kube, cni }: ClusterAgent,
  name: string,
  labels: Record<string, string>,
): Promise<TestPod> {
  const spec = { nodeName: ownNode, containers: [{ name: "main", image: "test" }] };
  const made = await kube.create(pods, { metadata: { name, namespace: "default", labels }, spec, status: {} });
  const uid = made.metadata.uid ?? "";
  const netns = makeNetns(t);
  const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_UID=${uid}`;
  const { exitCode, stdout } = await cni("ADD", { containerId: name, netns: netns.path, env: { CNI_ARGS: args } });
  assert.equal(exitCode, 0, stdout);
  const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
  return { name, uid, netns, addresses: ips.map(({ address }) => address.split("/")[0] ?? "") };
}

/** True where an echo request from one pod to the other is answered, over that family. */
function pings(from: TestPod, to: TestPod, family: 0 | 1): boolean {
  try {
    from.netns.run("ping", "-c", "1", "-W", "0.3", to.addresses[family] ?? "");
    return true;
  } catch {
    return false;
  }
}

const [noConnection, wasReset] = [3, 4];
const port = 5432;
const echoServer = `require("node:net").createServer((one) => one.on("error", () => {}).pipe(one)).listen(${port}, () => console.log("ready"))`;
/** Sends a byte every 50 ms and prints what comes back. */
const echoClient = ({ addresses }: TestPod): string => `
  const socket = require("node:net").connect(${port}, "${addresses[0]}", () => { open = true; setInterval(() => socket.write("."), 50); });
  let open = false;
  setTimeout(() => open || process.exit(${noConnection}), 1000);
  socket.on("data", (data) => process.stdout.write(data));
  socket.on("error", () => process.exit(open ? ${wasReset} : ${noConnection}));`;

/** Runs a script in the pod until the test ends. */
function inPod(t: TestContext, { netns }: TestPod, script: string): ChildProcessByStdio<null, Readable, null> {
  const child = spawn("ip", ["netns", "exec", netns.name, process.execPath, "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

const reached = (from: TestPod, to: TestPod): boolean[] => [pings(from, to, 0), pings(from, to, 1)];
const [both, neither] = [
  [true, true],
  [false, false],
];

const denyAll = (labels: Record<string, string>): NetworkPolicy =>
  networkPolicies.parse({
    metadata: { namespace: "default", name: "closed" },
    spec: { podSelector: { matchLabels: labels }, policyTypes: ["Ingress"] },
  });

const ingressFrom = (labels: Record<string, string>): NetworkPolicy =>
  networkPolicies.parse({
    metadata: { namespace: "default", name: "open" },
    spec: {
      podSelector: { matchLabels: { app: "db" } },
      ingress: [{ from: [{ podSelector: { matchLabels: labels } }] }],
    },
  });

void test("a NetworkPolicy isolates running pods and new ones; another lets in whom it selects; without them all is open", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  assert.deepEqual(reached(web, db), both);
  await kube.create(networkPolicies, denyAll({ app: "db" }));
  await until("the running pod is closed", () => !pings(web, db, 0));
  assert.deepEqual(reached(web, db), neither);
  assert.deepEqual(reached(db, web), both, "answers pass");
  const late = await addPod(t, agent, "late", { app: "db" });
  assert.deepEqual(reached(web, late), neither, "a new pod is closed when ADD has answered");
  await kube.create(networkPolicies, ingressFrom({ app: "web" }));
  await until("whom it selects is let in", () => pings(web, db, 0) && pings(web, late, 1));
  assert.deepEqual(reached(late, db), neither);
  await kube.remove(networkPolicies, { namespace: "default", name: "closed" });
  await kube.remove(networkPolicies, { namespace: "default", name: "open" });
  await until("all is open", () => pings(late, db, 0));
  assert.deepEqual(reached(late, db), both);
});

void test("a label that changes on a running pod changes who may talk to it, and what it may", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await kube.create(networkPolicies, ingressFrom({ app: "web" }));
  await until("policy is there", () => !pings(db, db, 0) || pings(web, db, 0));
  const label = (name: string, app: string): Promise<unknown> =>
    kube.patch(pods, { namespace: "default", name }, { type: "merge", body: { metadata: { labels: { app } } } });
  await label("web", "other");
  await until("it is no member any more", () => !pings(web, db, 0));
  await label("web", "web");
  await until("it is a member again", () => pings(web, db, 0));
  await label("web", "other");
  await label("db", "free");
  await until("the target is not selected any more", () => pings(web, db, 0) && pings(web, db, 1));
});

void test("security groups: members reach each other as rules say, an open connection is reset when its rule goes", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  const other = await addPod(t, agent, "other", { app: "other" });
  const group = (name: string, ingress: object[]): ReturnType<typeof securityGroups.parse> =>
    securityGroups.parse({ metadata: { name }, spec: { bindableFrom: {}, ingress } });
  const rule = { protocol: "tcp", ports: [{ port }], from: [{ securityGroup: "web" }] };
  await kube.create(securityGroups, group("web", []));
  await kube.create(securityGroups, group("db", [rule]));
  for (const app of ["web", "db"]) {
    const spec = { podSelector: { matchLabels: { app } }, groups: [app] };
    await kube.create(securityGroupBindings, { metadata: { namespace: "default", name: app }, spec });
  }
  await until("echo requests are not among the rules", () => !pings(web, db, 0) && !pings(other, db, 1));
  assert.deepEqual(reached(web, other), both, "who is bound to nothing is open");

  const server = inPod(t, db, echoServer);
  await once(server.stdout, "data");
  const stranger = inPod(t, other, echoClient(db));
  const [refused] = (await once(stranger, "exit")) as [number | null];
  assert.equal(refused, noConnection, "who is no member of the group gets no connection");
  const client = inPod(t, web, echoClient(db));
  let heard = 0;
  client.stdout.on("data", (chunk: Buffer) => (heard += chunk.length));
  await until("the connection is open", () => heard > 10);
  await kube.patch(securityGroups, { name: "db" }, { type: "merge", body: { spec: { ingress: [] } } });
  const startedMs = performance.now();
  const [ended] = (await once(client, "exit")) as [number | null];
  const tookMs = Math.round(performance.now() - startedMs);
  t.diagnostic(`reset after ${tookMs} ms`);
  assert.equal(ended, wasReset);
  assert.ok(tookMs < 2_000, `reset after ${tookMs} ms`);
});
