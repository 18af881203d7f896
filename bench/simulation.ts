// A large cluster without its machines: a thousand Nodes and their pods in the lab's API server, the real controller, two real agents among them.

import { inOwnLab } from "./own-lab.ts";
import { callsAtOnce, eachOf, makeNode } from "./crowd.ts";
import { residentMb, threadCpuMs } from "./proc.ts";
import { agentUser, controllerUser, type Kubernetes, podRanges } from "../lab/kubernetes.ts";
import type { Api } from "../lab/api.ts";
import { startCluster } from "../lab/cluster.ts";
import { execOk } from "../lab/exec.ts";
import { planCluster } from "../lab/layout.ts";
import { all, until } from "../lab/waiting.ts";
import { present } from "../src/base/assert.ts";
import { z } from "zod";

export interface SimulationOptions {
  /** Name of the lab to make. */
  name: string;
  nodes: number;
  podsOfNode: number;
  signal: AbortSignal;
  onStep: (words: string) => void;
}

export interface SimulationResult {
  /** From the first Node's creation until the controller has given the last its blocks. */
  blocksS: number;
  /** Of it, until the last Node and NodeNetwork were made. */
  madeS: number;
  controllerMb: number;
  controllerCpuS: number;
  controllerRequests: number;
  /** What one real agent has asked and was sent while all of it came up. */
  agentRequests: number;
  agentKb: number;
  agentMb: number;
}

const blocksWithinMs = 300_000;
/** How long the real agents may take to have a way to every node. */
const settleWithinMs = 60_000;

/** @throws Fault "lab-failed" where a node gets no block of each family, or two nodes the same */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { name, nodes, podsOfNode, signal, onStep } = options;
  return inOwnLab(name, async (lab) => {
    const plan = planCluster({ lab: name, nodes: 2, families: [4, 6], gateway: true, control: true });
    const cluster = await startCluster(lab, plan, { keepsObjects: false, blockPrefix: 26 });
    const kubernetes = present(cluster.kubernetes, "Kubernetes");
    const api = kubernetes.connect(callsAtOnce);
    await kubernetes.resetUsage();
    const startedMs = performance.now();
    const names = Array.from({ length: nodes - 2 }, (_, index) => `sim-${index}`);
    await eachOf(names, async (node) => void (await makeNode(api, node)), signal);
    const madeS = (performance.now() - startedMs) / 1000;
    onStep(`${nodes} nodes are made`);
    await until(() => missing(api, nodes), { what: "blocks", withinMs: blocksWithinMs, everyMs: 500, signal });
    const blocksS = (performance.now() - startedMs) / 1000;
    onStep(`${nodes} nodes have blocks`);
    const agent = present(cluster.nodes.get("node-1"), "node-1");
    const ways = async (): Promise<string | undefined> => {
      const held = await waysOf(cluster.lab.env, agent.layout.netns);
      return held < 2 * (nodes - 1) ? `${held} ways` : undefined;
    };
    await until(ways, { what: "ways of node-1", withinMs: settleWithinMs, everyMs: 500, signal });
    const pods = names.flatMap((node) =>
      Array.from({ length: podsOfNode }, (_, index) => ({ node, pod: `${node}-${index}` })),
    );
    await eachOf(pods, ({ node, pod }) => makePod(api, node, pod), signal);
    onStep(`${pods.length} pods are made`);
    return {
      blocksS,
      madeS,
      controllerMb: residentMb(kubernetes.controller.pid()),
      controllerCpuS: sum(threadCpuMs(kubernetes.controller.pid()).values()) / 1000,
      agentMb: residentMb(agent.agentPid()),
      ...(await asked(kubernetes)),
    };
  });
}

async function makePod(api: Api, node: string, name: string): Promise<void> {
  await api.must("POST", "/api/v1/namespaces/default/pods", {
    metadata: { name, namespace: "default", labels: { app: node } },
    spec: { nodeName: node, containers: [{ name: "main", image: "simulated" }] },
    status: { phase: "Running" },
  });
}

const networks = z.object({
  items: z.array(
    z.object({ status: z.object({ blocks: z.array(z.object({ cidr: z.string() })) }).prefault({ blocks: [] }) }),
  ),
});

/** What is still wrong with the blocks of all nodes. */
async function missing(api: Api, nodes: number): Promise<string | undefined> {
  const { items } = networks.parse(await api.must("GET", "/apis/fairlead.dev/v1alpha1/nodenetworks"));
  const blocks = items.flatMap(({ status }) => status.blocks.map(({ cidr }) => cidr));
  if (new Set(blocks).size !== blocks.length) return "two nodes have one block";
  const wanted = nodes * Object.keys(podRanges).length;
  return blocks.length < wanted ? `${blocks.length} of ${wanted} blocks` : undefined;
}

async function waysOf(env: Readonly<Record<string, string>>, netns: string): Promise<number> {
  const seen = await all(
    ["-4", "-6"].map((family) => execOk("ip", ["-n", netns, family, "route", "show", "proto", "142"], { env })),
  );
  return seen
    .join("")
    .split("\n")
    .filter((line) => line.includes(" via ")).length;
}

async function asked(
  kubernetes: Kubernetes,
): Promise<Pick<SimulationResult, "controllerRequests" | "agentRequests" | "agentKb">> {
  const usage = await kubernetes.usage();
  const of = (user: string) =>
    present(
      usage.find((one) => one.user === user),
      user,
    );
  const agent = of(agentUser("node-1"));
  return {
    controllerRequests: of(controllerUser).requests,
    agentRequests: agent.requests,
    agentKb: agent.bytesOut / 1024,
  };
}

const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);
