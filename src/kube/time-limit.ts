// Signals and time limits of calls: one signal of several, and work that is given up when its time is over.

import { pause } from "../base/pause.ts";

/** The reason of a signal that aborted because time was over. */
export class TimeOver extends Error {
  constructor(ms: number) {
    super(`time is over after ${ms} ms`);
    this.name = "TimeOver";
  }
}

/** A signal that aborts with any of `signals`, until `release` lets go of them. */
export function linkSignals(signals: readonly (AbortSignal | undefined)[]): {
  controller: AbortController;
  release: () => void;
} {
  const controller = new AbortController();
  const ends: (() => void)[] = [];
  for (const signal of signals) {
    if (signal === undefined) continue;
    if (signal.aborted) controller.abort(signal.reason);
    const abort = (): void => controller.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    ends.push(() => signal.removeEventListener("abort", abort));
  }
  return { controller, release: () => ends.forEach((end) => end()) };
}

/** Runs `work` with a signal that aborts after `ms` (reason `TimeOver`) or with `signal`. `work` must end when it aborts. */
export async function limited<T>(
  ms: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { controller, release } = linkSignals([signal]);
  const over = new AbortController();
  const watchdog = async (): Promise<void> => {
    await pause(ms, over.signal);
    if (!over.signal.aborted) controller.abort(new TimeOver(ms));
  };
  void watchdog();
  try {
    return await work(controller.signal);
  } finally {
    over.abort();
    release();
  }
}
