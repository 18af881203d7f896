// Work on many objects, a few at a time: one that fails does not keep the others from their turn.

import { asFault, describe, Fault } from "../base/fault.ts";

/** Calls to the API server that one loop makes at once. */
const atOnceMax = 8;

/**
 * Runs `work` for each item, at most eight at a time, until `signal` aborts. Every item is tried.
 * @throws Fault with the code of the first failure, and how many failed, after all have ended
 */
export async function each<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length && !signal.aborted) {
      const item = items[next];
      next += 1;
      try {
        if (item !== undefined) await work(item);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnceMax, items.length) }, worker));
  const [first] = failures;
  if (first === undefined) return;
  const { code, data } = asFault(first);
  throw new Fault(code, `${failures.length} of ${items.length} failed, the first with: ${describe(first)}`, {
    cause: first,
    data,
  });
}
