// One run: two equal machines of a lab, ours on one and the reference on the other, asked in turn for blocks of pods, one pod at a time.

import { mkdirSync } from "node:fs";
import { auditNode, auditText } from "../lab/audit/audit.ts";
import { auditedNode } from "../lab/audit/lab-node.ts";
import { type Family, type NodeLayout, planCluster, podNetns } from "../lab/layout.ts";
import { removeLab } from "../lab/down.ts";
import { execOk } from "../lab/exec.ts";
import { makeMachines } from "../lab/machines.ts";
import { makeNetns } from "../lab/netns.ts";
import { createNode } from "../lab/node.ts";
import { createLab, type Lab } from "../lab/record.ts";
import { until } from "../lab/waiting.ts";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import {
  invocation,
  newPod,
  ourPlugin,
  type Plugin,
  type Pod,
  referencePlugin,
  verifyAdd,
  verifyDel,
} from "./plugins.ts";
import { type Run, type Spawner, startSpawner } from "./spawner.ts";

/** The name of the lab of `make bench`; its namespaces begin with flab-bench-. Two benches at once are refused by it. */
export const benchLab = "bench";

/** Pods that are added one right after another, then deleted so: what lies between blocks (looking, waiting) is in no figure. */
export const blockPods = 10;

/** A node block of 254 addresses serves this many, and the warm-up's, without waiting for one that cools. */
export const podsMax = 200;

/** The reference's first calls only fill the page cache. Ours warms up with a whole block: the agent's code is compiled in it. */
const referenceWarmUpPods = 2;

/** From a DEL's reply until its link is gone, which happens after the reply: the next block must not pay for it. */
const settleWithinMs = 10_000;

export interface Times {
  /** One figure a pod. */
  add: number[];
  del: number[];
  /** One figure a block: from the start of its first DEL until no link of its pods is left on the node. */
  gone: number[];
}

export interface RunResult {
  ours: Times;
  reference: Times;
  /** Our very first ADD after the agent's start, which no percentile holds. */
  first: number;
  /** /bin/true, and the shim answering VERSION: what starting any program costs, and what ours costs more. */
  bare: number[];
  version: number[];
}

export interface RunOptions {
  /** Name of the lab to make. */
  name: string;
  families: readonly Family[];
  /** Blocks of pods, the warm-up not counted. */
  blocks: number;
  /** The reference takes part in this many of them, spread evenly; 0 needs no reference plugins. */
  referenceBlocks: number;
  signal: AbortSignal;
  /** Told after each block, -1 for the warm-up. */
  onBlock: (block: number) => void;
}

/**
 * Makes the machines, measures, and removes them again, whatever happens.
 * @throws Fault "lab-failed" where anything does not work, or another run of that name is under way.
 */
export async function measure(options: RunOptions): Promise<RunResult> {
  const { name, families } = options;
  await removeLab(name); // what a killed run has left
  const lab = createLab({ name });
  let spawner: Spawner | undefined;
  try {
    const layout = planCluster({ lab: name, nodes: 2, families, gateway: true });
    const [our, other] = [present(layout.nodes[0], "node 1"), present(layout.nodes[1], "node 2")];
    await makeMachines(lab, layout);
    await createNode(lab, our).startAgent();
    mkdirSync(`${other.directory}/state`, { recursive: true, mode: 0o700 });
    // In the reference's machine, where it must run; the shim's way to its agent is a socket and leads there from anywhere.
    spawner = startSpawner(lab, other.netns, lab.directory);
    const result = await run({ lab, spawner, ours: ourPlugin(our), reference: referencePlugin(other) }, options);
    await refuseRemains(our, lab.env);
    return result;
  } finally {
    spawner?.end();
    lab.close();
    await removeLab(name);
  }
}

/** A plugin that leaves work undone would be fast for a bad reason: with its pods gone, our node must hold nothing of them. */
async function refuseRemains(our: NodeLayout, env: Lab["env"]): Promise<void> {
  const node = auditedNode(our, "runs");
  const foreignFiles = [...(node.foreignFiles ?? []), `${our.directory}/bench`];
  const left = await auditNode({ ...node, foreignFiles }, { env });
  if (left.length > 0) throw new Fault("lab-failed", auditText(our.name, left));
}

interface Parties {
  lab: Lab;
  spawner: Spawner;
  ours: Plugin;
  reference: Plugin;
}

async function run(parties: Parties, options: RunOptions): Promise<RunResult> {
  const { blocks, referenceBlocks, signal, onBlock } = options;
  const times = (): Times => ({ add: [], del: [], gone: [] });
  const result: RunResult = { ours: times(), reference: times(), first: 0, bare: [], version: [] };
  const warmUp: RunResult = { ...result, ours: times(), reference: times(), bare: [], version: [] };
  const referenceIn = (block: number): number => {
    if (block < 0) return referenceBlocks > 0 ? referenceWarmUpPods : 0;
    const upTo = (count: number): number => Math.floor((count * referenceBlocks) / blocks);
    return upTo(block + 1) > upTo(block) ? blockPods : 0;
  };
  for (let block = -1; block < blocks; block += 1) {
    signal.throwIfAborted();
    await runBlock(parties, block, referenceIn(block), block < 0 ? warmUp : result);
    onBlock(block);
  }
  return { ...result, first: present(warmUp.ours.add[0], "the first ADD") };
}

/** The pods of one plugin in one block. */
interface Side {
  plugin: Plugin;
  times: Times;
  pods: Pod[];
  /** What each ADD came to, in the pods' order. */
  added: Run[];
}

/**
 * One block: each plugin's ADDs in a row, then each one's DELs. No node runs two plugins, and what one leaves for later (the
 * kernel's work on links, a process that ends) would be measured as the other's time. Who comes first changes every block.
 */
async function runBlock(parties: Parties, block: number, referencePods: number, into: RunResult): Promise<void> {
  const { lab, spawner, ours, reference } = parties;
  const side = async (plugin: Plugin, times: Times, count: number): Promise<Side> => ({
    plugin,
    times,
    pods: await makePods(lab, `${plugin.name}-${block + 1}`, count),
    added: [],
  });
  const both = [await side(ours, into.ours, blockPods), await side(reference, into.reference, referencePods)];
  const sides = block % 2 === 0 ? both : both.toReversed();
  for (const { plugin, pods, added } of sides) {
    for (const pod of pods) added.push(await spawner.run(invocation(plugin, "ADD", pod)));
  }
  for (const { plugin, times, pods, added } of sides) {
    for (const [index, run] of added.entries()) await verifyAdd(plugin, present(pods[index], "pod"), run, lab.env);
    times.add.push(...added.map(({ ms }) => ms));
  }
  for (const one of sides) await deleteAll(parties, one);
  await measureStart(parties, into);
}

/** Fresh namespaces, as a runtime makes them. They stay until the end: their removal would go on behind the next measurement. */
async function makePods(lab: Lab, name: string, count: number): Promise<Pod[]> {
  const pods: Pod[] = [];
  for (let index = 0; index < count; index += 1) {
    const netns = podNetns(lab.name, `${name}-${index}`);
    await makeNetns(lab, netns);
    pods.push(newPod(netns));
  }
  return pods;
}

async function deleteAll({ lab, spawner }: Parties, { plugin, times, pods, added }: Side): Promise<void> {
  if (pods.length === 0) return;
  const deleted: Run[] = [];
  const startedMs = performance.now();
  for (const [index, pod] of pods.entries()) {
    deleted.push(await spawner.run(invocation(plugin, "DEL", pod, present(added[index], "result of ADD").stdout)));
  }
  await untilNoPodLink(lab, plugin.node);
  times.gone.push(performance.now() - startedMs);
  for (const [index, run] of deleted.entries()) verifyDel(plugin, present(pods[index], "pod"), run);
  times.del.push(...deleted.map(({ ms }) => ms));
}

/** Waits until the machine has no link but its own two. */
async function untilNoPodLink(lab: Lab, { name, netns }: Plugin["node"]): Promise<void> {
  const look = async (): Promise<string | undefined> => {
    const text = await execOk("ip", ["-n", netns, "-oneline", "link", "show"], { env: lab.env });
    const links = [...text.matchAll(/^\d+: ([^:@]+)/gm)].map(([, link]) => link);
    const left = links.filter((link) => link !== "lo" && link !== "eth0");
    return left.length === 0 ? undefined : `${name} still has ${left.join(", ")}`;
  };
  await until(look, { what: "removal of the pods' links", withinMs: settleWithinMs, everyMs: 5 });
}

/** What starting a program costs, with ours and with one that does nothing. */
async function measureStart({ spawner, ours }: Parties, result: RunResult): Promise<void> {
  for (let time = 0; time < blockPods; time += 1) {
    const bare = await spawner.run({ argv: ["/bin/true"], env: {} });
    const version = await spawner.run({ argv: [ours.binary], env: { CNI_COMMAND: "VERSION" } });
    if (bare.exit !== 0 || version.exit !== 0 || !version.stdout.includes("supportedVersions")) {
      throw new Fault("lab-failed", `/bin/true gave ${bare.exit}, VERSION gave ${version.exit}: ${version.stdout}`);
    }
    result.bare.push(bare.ms);
    result.version.push(version.ms);
  }
}
