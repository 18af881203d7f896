// One background activity: coalesces triggers, runs one pass at a time, backs off on failure, makes a full pass when quiet too long.

import { pause } from "./pause.ts";

export interface LoopOptions {
  name: string;
  /** One idempotent pass: bring what is observed to what is desired. Throwing means "try again later". */
  sync: (signal: AbortSignal) => Promise<void>;
  /** Triggers closer together than this become one pass. A function is asked after each pass, with the time that it took. */
  minMs: number | ((passMs: number) => number);
  /** Delay after the first failed pass; doubles up to `retryMaxMs`. */
  retryMs: number;
  retryMaxMs: number;
  /** A pass runs at least this often, trigger or not: drift is found even if an event was lost. A function is asked after each pass. */
  maxMs: number | (() => number);
  signal: AbortSignal;
  onPass?: (outcome: LoopPass) => void;
}

export interface LoopPass {
  name: string;
  ok: boolean;
  durationMs: number;
  error?: unknown;
}

export interface LoopStatus {
  name: string;
  passes: number;
  /** Failed passes since the last good one. */
  failures: number;
  lastPass?: LoopPass;
}

export interface Loop {
  /** Ask for a pass. Never waits; any number of calls before the pass starts cost one pass. */
  trigger(): void;
  /** What the loop has done so far. */
  status(): LoopStatus;
  /** Settles when the loop has stopped after `signal` aborted, its last pass included. */
  done: Promise<void>;
}

/** Starts the loop; the first pass begins at once. */
export function startLoop({ name, sync, minMs, retryMs, retryMaxMs, maxMs, signal, onPass }: LoopOptions): Loop {
  let asked = false;
  let passes = 0;
  let failures = 0;
  let lastPass: LoopPass | undefined;
  let wake: (() => void) | undefined; // set only while a trigger may cut the wait short

  const wait = (ms: number, wakeable: boolean): Promise<void> =>
    pause(ms, signal, (end) => {
      wake = wakeable ? end : undefined;
    });

  async function pass(): Promise<void> {
    asked = false;
    const startedMs = performance.now();
    let error: unknown;
    let ok = true;
    try {
      await sync(signal);
      failures = 0;
    } catch (cause) {
      ok = false;
      failures += 1;
      error = cause;
    }
    passes += 1;
    lastPass = { name, ok, durationMs: performance.now() - startedMs, ...(ok ? {} : { error }) };
    onPass?.(lastPass);
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await pass();
      // A failing pass waits out its back-off even when triggered: the trigger is kept, not obeyed at once.
      if (failures > 0) {
        await wait(Math.min(retryMs * 2 ** Math.min(failures - 1, 30), retryMaxMs), false);
      } else {
        const restMs = typeof minMs === "function" ? minMs(lastPass?.durationMs ?? 0) : minMs;
        const quietMs = typeof maxMs === "function" ? maxMs() : maxMs;
        await wait(restMs, false);
        if (!asked) await wait(quietMs - restMs, true);
      }
    }
  }

  const done = run();
  return {
    done,
    trigger: () => {
      asked = true;
      wake?.();
    },
    status: () => ({ name, passes, failures, ...(lastPass === undefined ? {} : { lastPass }) }),
  };
}

/** A rest of so many times as long as the pass took, within bounds: what is large takes a small share of a processor all the same. */
export function restOf({ times, leastMs, mostMs }: Record<"times" | "leastMs" | "mostMs", number>) {
  return (passMs: number): number => Math.min(Math.max(times * passMs, leastMs), mostMs);
}
