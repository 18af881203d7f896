// One pod at a time: ours and the reference asked in turn for blocks of pods.

import type { Family } from "../lab/layout.ts";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { invocation, type Plugin, type Pod, verifyAdd, verifyDel } from "./plugins.ts";
import type { Run } from "./spawner.ts";
import { onStage, type Stage } from "./stage.ts";

/** Pods that are added one right after another, then deleted so: what lies between blocks (looking, waiting) is in no figure. */
export const blockPods = 10;

/** A node block of 254 addresses serves this many, and the warm-up's, without waiting for one that cools. */
export const podsMax = 200;

/** The reference's first calls only fill the page cache. Ours warms up with a whole block: the agent's code is compiled in it. */
const referenceWarmUpPods = 2;

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
export function measure(options: RunOptions): Promise<RunResult> {
  const { name, families } = options;
  return onStage({ name, families }, (stage) => run(stage, options));
}

async function run(stage: Stage, options: RunOptions): Promise<RunResult> {
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
    await runBlock(stage, block, referenceIn(block), block < 0 ? warmUp : result);
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
async function runBlock(stage: Stage, block: number, referencePods: number, into: RunResult): Promise<void> {
  const { lab, spawner, ours, reference } = stage;
  const side = async (plugin: Plugin, times: Times, count: number): Promise<Side> => ({
    plugin,
    times,
    pods: await stage.makePods(`${plugin.name}-${block + 1}`, count),
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
  for (const one of sides) await deleteAll(stage, one);
  await measureStart(stage, into);
}

async function deleteAll({ spawner, untilNoPodLink }: Stage, { plugin, times, pods, added }: Side): Promise<void> {
  if (pods.length === 0) return;
  const deleted: Run[] = [];
  const startedMs = performance.now();
  for (const [index, pod] of pods.entries()) {
    deleted.push(await spawner.run(invocation(plugin, "DEL", pod, present(added[index], "result of ADD").stdout)));
  }
  await untilNoPodLink(plugin);
  times.gone.push(performance.now() - startedMs);
  for (const [index, run] of deleted.entries()) verifyDel(plugin, present(pods[index], "pod"), run);
  times.del.push(...deleted.map(({ ms }) => ms));
}

/** What starting a program costs, with ours and with one that does nothing. */
async function measureStart({ spawner, ours }: Stage, result: RunResult): Promise<void> {
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
