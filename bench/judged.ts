// A node full of judged pods: what policy adds to the time of an ADD, against a cluster in which nobody has said anything, and what memory its agent needs.

import { fileURLToPath } from "node:url";
import { z } from "zod";
import { type Cluster, startCluster } from "../lab/cluster.ts";
import { execOk } from "../lab/exec.ts";
import { readJson } from "../lab/json.ts";
import { planCluster, podNetns } from "../lab/layout.ts";
import { makeNetns } from "../lab/netns.ts";
import { until } from "../lab/waiting.ts";
import { present } from "../src/base/assert.ts";
import { inOwnLab } from "./own-lab.ts";
import { callsAtOnce, makeCrowd, untilMembers } from "./crowd.ts";
import { callers, makeManyRules, servers } from "./groups.ts";
import { invocation, newPod, ourPlugin, type Plugin, type Pod, verifyAdd } from "./plugins.ts";
import { residentMb } from "./proc.ts";
import { type Spawner, startSpawner } from "./spawner.ts";

export interface JudgedOptions {
  /** Begins the labs' names. */
  name: string;
  /** Nodes that are objects only; their pods are the members that rules name, with an address of each family. */
  crowd: { nodes: number; podsOfNode: number };
  /** Pods of the node, that of the warm-up included, and how many are added in a row before it is the other side's turn. */
  pods: number;
  block: number;
  signal: AbortSignal;
  onStep: (words: string) => void;
}

export interface JudgedResult {
  /** ADD in ms: under policy, and where there is none. */
  judged: number[];
  open: number[];
  /** Memory of the agents once all pods are there, in MB. */
  judgedMb: number;
  openMb: number;
}

const judgedWithinMs = 60_000;
/** It is over after half a minute. */
const startOverWithinMs = 60_000;
/** Links of pods that nothing judges have this group, those of others a higher one. */
const openGroup = 100;

/** @throws Fault "lab-failed" where anything does not work */
export function measureJudged(options: JudgedOptions): Promise<JudgedResult> {
  const { name, crowd, pods, block, signal, onStep } = options;
  return withSide(`${name}judged`, options, async (judged) => {
    await makeManyRules(judged.api);
    await makeCrowd(judged.api, { ...crowd, labels: { app: callers }, signal });
    await untilMembers(judged.api, `SecurityGroup ${callers}`, crowd.nodes * crowd.podsOfNode, signal);
    onStep("the crowd is there");
    return withSide(`${name}open`, options, async (open) => {
      for (let added = 0; added < pods; added += block) {
        for (const side of (added / block) % 2 === 0 ? [judged, open] : [open, judged]) {
          signal.throwIfAborted();
          await addBlock(side, side.pods.slice(added, added + block), added === 0 ? [] : side.times);
        }
        onStep(`${added + block} pods`);
      }
      await untilJudged(judged);
      await Promise.all([judged, open].map(untilStarted));
      const memory = ({ cluster }: Side): number => residentMb(cluster.node("node-1").agentPid());
      return { judged: judged.times, open: open.times, judgedMb: memory(judged), openMb: memory(open) };
    });
  });
}

interface Side {
  cluster: Cluster;
  api: ReturnType<NonNullable<Cluster["kubernetes"]>["connect"]>;
  plugin: Plugin;
  spawner: Spawner;
  /** Known to the API server from the beginning; none is attached yet. */
  pods: readonly Pod[];
  times: number[];
}

async function withSide<T>(name: string, { pods }: JudgedOptions, work: (side: Side) => Promise<T>): Promise<T> {
  return inOwnLab(name, async (lab, atEnd) => {
    const plan = planCluster({ lab: name, nodes: 1, families: [4, 6], gateway: true, control: true });
    const cluster = await startCluster(lab, plan, { keepsObjects: false });
    const { layout } = cluster.node("node-1");
    const spawner = startSpawner(lab, layout.netns, lab.directory);
    atEnd(() => spawner.end());
    const side = {
      cluster,
      api: present(cluster.kubernetes, "Kubernetes").connect(callsAtOnce),
      plugin: ourPlugin(layout),
      spawner,
      pods: await bindPods(cluster, pods),
      times: [],
    };
    return await work(side);
  });
}

async function bindPods({ lab, kubernetes }: Cluster, count: number): Promise<Pod[]> {
  const pods: Pod[] = [];
  for (let index = 0; index < count; index += 1) {
    const name = `pod-${index}`;
    const netns = podNetns(lab.name, name);
    await makeNetns(lab, netns);
    const uid = await present(kubernetes, "Kubernetes").bindPod(name, { node: "node-1", labels: { app: servers } });
    const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_UID=${uid}`;
    pods.push({ ...newPod(netns), args });
  }
  return pods;
}

async function addBlock({ spawner, plugin, cluster }: Side, pods: readonly Pod[], into: number[]): Promise<void> {
  for (const pod of pods) {
    const run = await spawner.run(invocation(plugin, "ADD", pod));
    await verifyAdd(plugin, pod, run, cluster.lab.env);
    into.push(run.ms);
  }
}

const fairlead = fileURLToPath(new URL("../bin/fairlead", import.meta.url));
const statusSchema = z.object({ loops: z.array(z.object({ name: z.string(), passes: z.number() })) });

/** Waits until the agent has given back what only its start needed. */
async function untilStarted({ cluster }: Side): Promise<void> {
  const { directory } = cluster.node("node-1").layout;
  const look = async (): Promise<string | undefined> => {
    const text = await execOk(fairlead, ["status", "--socket", `${directory}/status.sock`, "-o", "json"], {
      env: cluster.lab.env,
    });
    const { loops } = readJson(statusSchema, text, "fairlead status");
    const passes = loops.find(({ name }) => name === "own-memory")?.passes ?? 0;
    return passes < 2 ? `${passes} passes over its own memory` : undefined;
  };
  await until(look, { what: "the end of the agent's start", withinMs: startOverWithinMs, everyMs: 500 });
}

/** Waits until the links of all pods have a class. */
async function untilJudged({ cluster, pods }: Side): Promise<void> {
  const { netns } = cluster.node("node-1").layout;
  const look = async (): Promise<string | undefined> => {
    const text = await execOk("ip", ["-n", netns, "-details", "link", "show", "type", "veth"], {
      env: cluster.lab.env,
    });
    const judged = [...text.matchAll(/ group (\d+) /g)].filter(([, group]) => Number(group) > openGroup).length;
    return judged < pods.length ? `${judged} of ${pods.length} are` : undefined;
  };
  await until(look, { what: "judged pods", withinMs: judgedWithinMs, everyMs: 100 });
}
