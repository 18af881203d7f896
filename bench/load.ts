// Many pods at once: a burst of them, as a node that starts; and a few at a time without end, as a node with many short jobs.

import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { type Invocation, type Run } from "./spawner.ts";
import { invocation, newPod, type Plugin, type Pod, verifyAdd, verifyDel } from "./plugins.ts";
import { onStage, type Stage } from "./stage.ts";

/**
 * Namespaces that pods under sustained load take in turn: enough that each has rested when its turn comes again, as a new pod's is
 * always new.
 */
export const ringPods = 200;

export interface LoadOptions {
  /** Name of the lab to make. */
  name: string;
  /** Pods of one burst, and how many bursts. */
  burstPods: number;
  bursts: number;
  /** Pods at a time under sustained load; how long each plugin gets, in how many turns. */
  atATime: number;
  turnMs: number;
  turns: number;
  /** False without reference plugins. */
  withReference: boolean;
  signal: AbortSignal;
}

export interface Burst {
  /** Milliseconds from the start of the first until each was done. */
  add: number[];
  del: number[];
  /** One a burst: the last of them; until no link was left. */
  lastAdd: number[];
  lastDel: number[];
  gone: number[];
}

export interface Sustained {
  /** Milliseconds of each call while others run. */
  add: number[];
  del: number[];
  /** One a turn: milliseconds for each pair of ADD and DEL, all workers together. */
  perPair: number[];
}

export interface LoadResult {
  burst: { ours: Burst; reference: Burst };
  sustained: { ours: Sustained; reference: Sustained };
}

/**
 * Makes the machines, measures, and removes them again, whatever happens.
 * @throws Fault "lab-failed" where any call fails
 */
export function measureLoad(options: LoadOptions): Promise<LoadResult> {
  // Addresses rest after their release: a usual block would be empty within a second.
  return onStage({ name: options.name, families: [4], blockSize: "large" }, async (stage) => {
    const plugins = options.withReference ? [stage.ours, stage.reference] : [stage.ours];
    const burst = { ours: emptyBurst(), reference: emptyBurst() };
    for (let turn = 0; turn < options.bursts; turn += 1) {
      for (const plugin of inTurn(plugins, turn)) {
        options.signal.throwIfAborted();
        await runBurst(
          stage,
          plugin,
          await stage.makePods(`${plugin.name}-b${turn}`, options.burstPods),
          burst[plugin.name],
        );
      }
    }
    const sustained = { ours: emptySustained(), reference: emptySustained() };
    const pods = {
      ours: await stage.makePods("ours-s", ringPods),
      reference: await stage.makePods("ref-s", ringPods),
    };
    for (let turn = 0; turn < options.turns; turn += 1) {
      for (const plugin of inTurn(plugins, turn)) {
        options.signal.throwIfAborted();
        await runTurn(stage, plugin, pods[plugin.name], { options, into: sustained[plugin.name] });
      }
    }
    return { burst, sustained };
  });
}

const emptyBurst = (): Burst => ({ add: [], del: [], lastAdd: [], lastDel: [], gone: [] });
const emptySustained = (): Sustained => ({ add: [], del: [], perPair: [] });

/** Who comes first changes every turn. */
function inTurn<T>(list: readonly T[], turn: number): readonly T[] {
  return turn % 2 === 0 ? list : list.toReversed();
}

async function runBurst(
  { spawner, lab, untilNoPodLink }: Stage,
  plugin: Plugin,
  pods: readonly Pod[],
  into: Burst,
): Promise<void> {
  const added = await spawner.burst(pods.map((pod) => invocation(plugin, "ADD", pod)));
  for (const [index, run] of added.entries()) await verifyAdd(plugin, present(pods[index], "pod"), run, lab.env);
  const startedMs = performance.now();
  const deleted = await spawner.burst(
    pods.map((pod, index) => invocation(plugin, "DEL", pod, present(added[index], "result of ADD").stdout)),
  );
  await untilNoPodLink(plugin);
  into.gone.push(performance.now() - startedMs);
  for (const [index, run] of deleted.entries()) verifyDel(plugin, present(pods[index], "pod"), run);
  note(added, into.add, into.lastAdd);
  note(deleted, into.del, into.lastDel);
}

function note(runs: readonly Run[], all: number[], last: number[]): void {
  const times = runs.map(({ ms }) => ms);
  all.push(...times);
  last.push(Math.max(...times));
}

interface Turn {
  options: LoadOptions;
  into: Sustained;
}

async function runTurn(
  { spawner, untilNoPodLink }: Stage,
  plugin: Plugin,
  pods: readonly Pod[],
  { options: { atATime, turnMs }, into }: Turn,
): Promise<void> {
  const cycled = await spawner.cycle(pairsOf(plugin, pods), atATime, turnMs);
  if (cycled.failed > 0) {
    throw new Fault(
      "lab-failed",
      `${cycled.failed} of ${cycled.first.length} pairs of ${plugin.name} failed under load`,
    );
  }
  into.add.push(...cycled.first);
  into.del.push(...cycled.second);
  into.perPair.push(cycled.ms / cycled.second.length);
  await untilNoPodLink(plugin);
}

/** ADD and DEL of a new container in each of these namespaces. */
export function pairsOf(plugin: Plugin, pods: readonly Pod[]): (readonly [Invocation, Invocation])[] {
  return pods.map(({ netns }) => {
    const pod = newPod(netns);
    return [invocation(plugin, "ADD", pod), invocation(plugin, "DEL", pod)];
  });
}
