// The agent's own memory: pages of Node's program that only the start used are given back once it is over.

import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";

/** See `Addon.releaseProgram`. */
export type ReleaseProgram = (part: number, parts: number) => number;

/** By then policy is loaded, and what the first pods needed is compiled. */
export const startOverMs = 30_000;
/** What is used only now and then comes back, little by little. */
export const releaseEveryMs = 3_600_000;
/** Node's program is some 100 MB: a part holds the event loop for less than a millisecond. */
export const parts = 64;

export interface OwnMemory {
  releaseProgram: ReleaseProgram;
  signal: AbortSignal;
  onPass?: (pass: LoopPass) => void;
}

/** Starts the loop that does so, for the first time half a minute after the start and then every hour. */
export function startOwnMemory({ releaseProgram, signal, onPass }: OwnMemory): Loop {
  let passes = 0;
  return startLoop({
    name: "own-memory",
    sync: async () => {
      passes += 1;
      if (passes === 1) return; // as it starts
      for (let part = 0; part < parts && !signal.aborted; part += 1) {
        releaseProgram(part, parts);
        await new Promise((turned) => setImmediate(turned));
      }
    },
    minMs: 0,
    retryMs: releaseEveryMs,
    retryMaxMs: releaseEveryMs,
    maxMs: () => (passes === 1 ? startOverMs : releaseEveryMs),
    signal,
    ...(onPass === undefined ? {} : { onPass }),
  });
}
