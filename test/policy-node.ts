// Pods on a node of a cluster, for tests of policy: attached as a runtime does it, and asked whether they reach each other.

import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { TestContext } from "node:test";
import { pods } from "../src/kube/core-objects.ts";
import { type NetworkPolicy, networkPolicies } from "../src/kube/policy-objects.ts";
import { type ClusterAgent, makeClusterAgent, ownNode } from "./cluster-agent.ts";
import { makeNetns, type TestNetns } from "./netns.ts";

const blocks = ["10.4.1.0/24", "fd00:10:4:1::/64"];

export interface TestPod {
  name: string;
  uid: string;
  netns: TestNetns;
  /** IPv4 and IPv6. */
  addresses: readonly string[];
}

/** An agent that serves in a cluster that has given it its blocks. */
export async function servingAgent(t: TestContext, settings?: Record<string, unknown>): Promise<ClusterAgent> {
  const agent = await makeClusterAgent(t, settings);
  await agent.makeNode();
  const { serving } = agent.start();
  await agent.giveBlocks(blocks);
  await serving;
  return agent;
}

/** Makes a pod with these labels, and attaches it as a runtime does; not `known`: the API server is away. */
export async function addPod(
  t: TestContext,
  { kube, cni }: ClusterAgent,
  name: string,
  labels: Record<string, string>,
  { known = true }: { known?: boolean } = {},
): Promise<TestPod> {
  const spec = { nodeName: ownNode, containers: [{ name: "main", image: "test" }] };
  const object = { metadata: { name, namespace: "default", labels }, spec, status: {} };
  const uid = known ? ((await kube.create(pods, object)).metadata.uid ?? "") : `uid-of-${name}`;
  const netns = makeNetns(t);
  const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_UID=${uid}`;
  const { exitCode, stdout } = await cni("ADD", { containerId: name, netns: netns.path, env: { CNI_ARGS: args } });
  assert.equal(exitCode, 0, stdout);
  const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
  return { name, uid, netns, addresses: ips.map(({ address }) => address.split("/")[0] ?? "") };
}

/** The journal of an agent, by the names of its files. */
export const stateFile = ["fairlead.db", "fairlead.db-wal", "fairlead.db-shm"];

/** Removes these files of the agent's state. */
export function lose({ config }: ClusterAgent, ...names: readonly string[]): void {
  for (const name of names) rmSync(join(config.paths.state, name), { force: true });
}

/** True where one of two echo requests from one pod to the other is answered, over that family. */
export function pings(from: TestPod, to: TestPod, family: 0 | 1): boolean {
  try {
    from.netns.run("ping", "-c", "2", "-i", "0.1", "-W", "0.3", to.addresses[family] ?? "");
    return true;
  } catch {
    return false;
  }
}

export const [noConnection, wasReset] = [3, 4];
export const echoPort = 5432;
export const echoServer = `require("node:net").createServer((one) => one.on("error", () => {}).pipe(one)).listen(${echoPort}, () => console.log("ready"))`;
/** Sends a byte every 50 ms and prints what comes back. */
export const echoClient = ({ addresses }: TestPod): string => `
  const socket = require("node:net").connect(${echoPort}, "${addresses[0]}", () => { open = true; setInterval(() => socket.write("."), 50); });
  let open = false;
  setTimeout(() => open || process.exit(${noConnection}), 3000);
  socket.on("data", (data) => process.stdout.write(data));
  socket.on("error", () => process.exit(open ? ${wasReset} : ${noConnection}));`;

/** Runs a script in the pod, until the test ends at the latest. */
export function inPod(t: TestContext, { netns }: TestPod, script: string): ChildProcessByStdio<null, Readable, null> {
  const child = spawn("ip", ["netns", "exec", netns.name, process.execPath, "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

export const reached = (from: TestPod, to: TestPod): boolean[] => [pings(from, to, 0), pings(from, to, 1)];
export const [both, neither] = [
  [true, true],
  [false, false],
];

export const denyAll = (labels: Record<string, string>): NetworkPolicy =>
  networkPolicies.parse({
    metadata: { namespace: "default", name: "closed" },
    spec: { podSelector: { matchLabels: labels }, policyTypes: ["Ingress"] },
  });

export const ingressFrom = (labels: Record<string, string>): NetworkPolicy =>
  networkPolicies.parse({
    metadata: { namespace: "default", name: "open" },
    spec: {
      podSelector: { matchLabels: { app: "db" } },
      ingress: [{ from: [{ podSelector: { matchLabels: labels } }] }],
    },
  });
