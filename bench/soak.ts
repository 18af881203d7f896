// A long life: very many pods come and go, and the agent's memory must not follow; what it costs by the way.

import { Fault } from "../src/base/fault.ts";
import { pairsOf, ringPods } from "./load.ts";
import { residentMb, threadCpuMs } from "./proc.ts";
import { onStage } from "./stage.ts";

export interface SoakOptions {
  name: string;
  /** Pairs of ADD and DEL in all, and after how many memory is looked at. */
  pairs: number;
  sampleEvery: number;
  atATime: number;
  signal: AbortSignal;
  onSample: (pairs: number) => void;
}

export interface SoakResult {
  /** Resident memory before, then after each sample, in MB. */
  residentMb: { pairs: number; mb: number }[];
  /** Processor time of the agent for one pair, in ms: all of it, and of the thread that removes links. */
  cpuMsPerPair: number;
  reaperCpuMsPerPair: number;
}

/** Time of one stretch between two looks at how far it is. */
const stretchMs = 2_000;

/** @throws Fault "lab-failed" where a call fails */
export function measureSoak(options: SoakOptions): Promise<SoakResult> {
  const { name, pairs, sampleEvery, atATime, signal, onSample } = options;
  return onStage(
    { name, families: [4], blockSize: "large" },
    async ({ spawner, node, ours, makePods, untilNoPodLink }) => {
      const pid = node.agentPid();
      const pods = await makePods("soak", ringPods);
      const samples = [{ pairs: 0, mb: residentMb(pid) }];
      const before = threadCpuMs(pid);
      for (let done = 0, next = sampleEvery; done < pairs;) {
        signal.throwIfAborted();
        const cycled = await spawner.cycle(pairsOf(ours, pods), atATime, stretchMs);
        if (cycled.failed > 0) throw new Fault("lab-failed", `${cycled.failed} calls failed after ${done} pairs`);
        done += cycled.second.length;
        if (done < next) continue;
        samples.push({ pairs: done, mb: residentMb(pid) });
        onSample(done);
        next += sampleEvery;
      }
      await untilNoPodLink(ours);
      const done = samples.at(-1)?.pairs ?? 0;
      const after = threadCpuMs(pid);
      const spent = [...after].map(([thread, ms]) => [thread, ms - (before.get(thread) ?? 0)] as const);
      const sum = (list: readonly (readonly [string, number])[]): number => list.reduce((all, [, ms]) => all + ms, 0);
      return {
        residentMb: samples,
        cpuMsPerPair: sum(spent) / done,
        reaperCpuMsPerPair: sum(spent.filter(([thread]) => thread === removalThread)) / done,
      };
    },
  );
}

/** The agent's thread for removals (docs/decisions/0006). */
const removalThread = "fl-remove";
