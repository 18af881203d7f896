// Undertakings of one owner of a table: one after the other, each tried again while the kernel says "not now".

import { Fault, isFault } from "../../base/fault.ts";

/** Calls for one table that are under way or wait; one more is refused. */
export const turnsQueueLenMax = 1024;

/** Tries of one undertaking while others change rulesets of the namespace. */
export const turnTriesMax = 8;

/** Does `attempt`, when its turn has come; in its last try it knows so. */
export type TakeTurn = <T>(attempt: (isLastTry: boolean) => Promise<T>) => Promise<T>;

/**
 * Calls take effect in the order in which they were made. `whose`: the table, for messages.
 * Faults: "kernel-busy" where the kernel said "not now" too often or too many calls wait; others as the attempt has them.
 */
export function createTurns(whose: string): TakeTurn {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  return (attempt) => {
    if (waiting >= turnsQueueLenMax) {
      return Promise.reject(new Fault("kernel-busy", `${waiting} calls wait for ${whose} already; try again later`));
    }
    waiting += 1;
    const result = last.then(() => trying(attempt)).finally(() => (waiting -= 1));
    last = result.catch(() => undefined);
    return result;
  };
}

async function trying<T>(attempt: (isLastTry: boolean) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt(tries >= turnTriesMax);
    } catch (error) {
      if (tries >= turnTriesMax || !isFault(error, "kernel-busy")) throw error;
    }
  }
}

/** Undefined where the kernel says "not now". */
export function unlessBusy<T>(reading: Promise<T>): Promise<T | undefined> {
  return reading.catch((error: unknown) => {
    if (isFault(error, "kernel-busy")) return undefined;
    throw error;
  });
}

/** What was read is no longer so: the attempt begins again. */
export function changedMeanwhile(whose: string): Fault {
  return new Fault("kernel-busy", `rulesets changed while ${whose} was checked`);
}
