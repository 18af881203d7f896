// Waiting: by condition until the answer is right or the time is up, never a blind sleep; and for many things at once.

import { Fault } from "../src/base/fault.ts";

export interface UntilOptions {
  /** What is waited for, for the message. */
  what: string;
  withinMs: number;
  /** Pause between two questions. */
  everyMs?: number;
  /** Asking may fail for a while, as by way of an API server on a busy computer: what it throws is then what is still wrong. */
  mayFail?: boolean;
  signal?: AbortSignal;
}

const everyDefaultMs = 20;

/**
 * Calls `ask` until it gives undefined ("as it should be"); a string is what is still wrong.
 * Asks at least once, and once more at the end of the time.
 * @throws Fault "lab-failed" with the last answer where the time is up, or where `signal` aborts; what `ask` throws, unless it may fail
 */
export async function until(ask: () => Promise<string | undefined>, options: UntilOptions): Promise<void> {
  const { what, withinMs, everyMs = everyDefaultMs, mayFail = false, signal } = options;
  const endMs = performance.now() + withinMs;
  let last = false;
  for (;;) {
    if (signal?.aborted === true) throw new Fault("lab-failed", `${what}: interrupted`);
    const wrong = await ask().catch((error: unknown) => {
      if (!mayFail) throw error;
      return String(error);
    });
    if (wrong === undefined) return;
    if (last) throw new Fault("lab-failed", `${what}: not within ${withinMs / 1000} s: ${wrong}`);
    const leftMs = endMs - performance.now();
    last = leftMs <= everyMs;
    await pause(Math.max(0, Math.min(everyMs, leftMs)));
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Waits until every one of `promises` has settled, then gives their values or throws the first failure in their order.
 * Unlike Promise.all alone it leaves nothing under way behind: a lab may be taken down right after.
 */
export async function all<T extends readonly unknown[] | []>(
  promises: T,
): Promise<{ -readonly [P in keyof T]: Awaited<T[P]> }> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

/** Does `work` for each of `items`, for `atOnceMax` of them at the same time; results in their order, or the first failure once all workers have ended. */
export async function allOf<T, R>(items: readonly T[], atOnceMax: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results = Array.from<R>({ length: items.length });
  const waiting = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of waiting) results[index] = await work(item);
  };
  await all(Array.from({ length: Math.min(atOnceMax, items.length) }, worker));
  return results;
}
