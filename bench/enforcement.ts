// From what is written until packets follow: edits of a group, and new members, on nodes whose agents follow a cluster with a crowd in it.

import type { Api } from "../lab/api.ts";
import { type Cluster, startCluster } from "../lab/cluster.ts";
import { agentUser, type Kubernetes } from "../lab/kubernetes.ts";
import { planCluster, podNetns } from "../lab/layout.ts";
import { isNetns } from "../lab/netns.ts";
import { until } from "../lab/waiting.ts";
import { present } from "../src/base/assert.ts";
import { inOwnLab } from "./own-lab.ts";
import { callsAtOnce, makeCrowd, untilMembers } from "./crowd.ts";
import { callers, edit, editedPort, makeGroups, servers } from "./groups.ts";
import { type Knocker, nowMs, startKnocker, startTrafficServer } from "./traffic.ts";

export interface EnforcementOptions {
  name: string;
  nodes: number;
  /** Nodes that are objects only, with so many members of the group that may call. */
  crowd: { nodes: number; podsOfNode: number };
  /** Each lets callers in, and takes that back. */
  edits: number;
  /** Callers that come and go. */
  pods: number;
  signal: AbortSignal;
  onStep: (words: string) => void;
}

/** All times in ms. */
export interface EnforcementResult {
  /** From the write of the edit until the first packet passes: on each node, and on the last of them. */
  edit: number[];
  editAll: number[];
  /** From the write of the edit until the last packet of a flow that it forbids. */
  forbidden: number[];
  /** From the end of a caller's ADD until it is let in by every node. */
  member: number[];
  /** What the API server sent one agent for one event of a pod, which came or went. */
  bytesOfEvent: number;
}

const port = editedPort;
const family = 4;
const netnsWithinMs = 10_000;

/** @throws Fault "lab-failed" where anything does not work */
export async function measureEnforcement(options: EnforcementOptions): Promise<EnforcementResult> {
  const { name, nodes, crowd, onStep, signal } = options;
  return inOwnLab(name, async (lab, atEnd) => {
    const plan = planCluster({ lab: name, nodes, families: [4, 6], gateway: true, control: true });
    const cluster = await startCluster(lab, plan, { keepsObjects: false });
    const kubernetes = present(cluster.kubernetes, "Kubernetes");
    const api = kubernetes.connect(callsAtOnce);
    await makeGroups(api);
    await makeCrowd(api, { ...crowd, labels: { app: callers }, signal });
    onStep(`${crowd.nodes * crowd.podsOfNode} members are made`);
    const addresses: string[] = [];
    for (const [node] of cluster.nodes) {
      const pod = `${servers}-${node}`;
      await cluster.addPod(pod, { node, labels: { app: servers } });
      const server = await startTrafficServer(lab, cluster.pod(pod).netns, port);
      atEnd(() => server.end());
      addresses.push(present(cluster.pod(pod).addresses[family], "an address"));
    }
    await cluster.addPod(callers, { node: "node-1", labels: { app: callers } });
    await untilMembers(api, callers, crowd.nodes * crowd.podsOfNode + 1, signal);
    const scene = { cluster, kubernetes, api, addresses };
    const edits = await measureEdits(scene, options);
    return { ...edits, ...(await measureMembers(scene, options)) };
  });
}

interface Scene {
  cluster: Cluster;
  kubernetes: Kubernetes;
  api: Api;
  /** Of the servers, one on each node. */
  addresses: readonly string[];
}

async function measureEdits(
  { cluster, api, addresses }: Scene,
  { edits, signal, onStep }: EnforcementOptions,
): Promise<Pick<EnforcementResult, "edit" | "editAll" | "forbidden">> {
  const result = { edit: [] as number[], editAll: [] as number[], forbidden: [] as number[] };
  const everyMs = addresses.length > 1 ? 2 : 1;
  const knocker = await startKnocker(cluster.lab, cluster.pod(callers).netns, { addresses, port, everyMs });
  try {
    for (let turn = 0; turn < edits; turn += 1) {
      signal.throwIfAborted();
      const openedMs = nowMs();
      await edit(api, true);
      const passed = await changed(knocker, "up", addresses);
      result.edit.push(...passed.map((atMs) => atMs - openedMs));
      result.editAll.push(Math.max(...passed) - openedMs);
      const closedMs = nowMs();
      await edit(api, false);
      const last = await changed(knocker, "down", addresses);
      result.forbidden.push(Math.max(...last) - closedMs);
      onStep(`${turn + 1} edits`);
    }
  } finally {
    knocker.end();
  }
  return result;
}

/** Waits until all of these are as asked for; gives when each became so, in no order. */
export async function changed(
  knocker: Knocker,
  change: "up" | "down",
  addresses: readonly string[],
): Promise<number[]> {
  const at = new Map<string, number>();
  while (at.size < addresses.length) {
    const one = await knocker.next();
    if (one.change === change) at.set(one.address, one.atMs);
    else at.delete(one.address);
  }
  return [...at.values()];
}

async function measureMembers(
  scene: Scene,
  { pods, signal, onStep }: EnforcementOptions,
): Promise<Pick<EnforcementResult, "member" | "bytesOfEvent">> {
  const { cluster, kubernetes, api, addresses } = scene;
  await edit(api, true);
  const member: number[] = [];
  const nodes = [...cluster.nodes.values()];
  await kubernetes.resetUsage();
  for (let turn = 0; turn < pods; turn += 1) {
    signal.throwIfAborted();
    const node = present(nodes[turn % nodes.length], "a node");
    const name = `member-${turn}`;
    const uid = await kubernetes.bindPod(name, { node: node.layout.name, labels: { app: callers } });
    const netns = podNetns(cluster.lab.name, name);
    const knocking = startAsSoonAs(netns, () => startKnocker(cluster.lab, netns, { addresses, port, everyMs: 2 }));
    await node.runtime.add(name, { uid });
    const addedMs = nowMs();
    const knocker = await knocking;
    member.push(Math.max(0, Math.max(...(await changed(knocker, "up", addresses))) - addedMs));
    knocker.end();
    await node.runtime.del(name);
    await kubernetes.podGone(name, "default");
    onStep(`${turn + 1} members`);
  }
  const sent = (await kubernetes.usage()).filter(({ user }) =>
    nodes.some(({ layout }) => user === agentUser(layout.name)),
  );
  const bytes = sent.reduce((sum, { bytesOut }) => sum + bytesOut, 0);
  return { member, bytesOfEvent: bytes / nodes.length / (2 * pods) };
}

async function startAsSoonAs<T>(netns: string, start: () => Promise<T>): Promise<T> {
  const look = async (): Promise<string | undefined> => (isNetns(netns) ? undefined : "it is not there");
  await until(look, { what: `namespace ${netns}`, withinMs: netnsWithinMs, everyMs: 2 });
  return start();
}
