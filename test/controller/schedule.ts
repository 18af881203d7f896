// Calls that wait for their turn: a test says which of them is made next, so that a seed decides in what order two replicas act.

import type { Cross } from "./crossing.ts";

/** Turns of the event loop after which it is sure that nothing follows an answer any more, and the most that are waited for. */
const restTurns = 3;
const turnsMax = 10_000;

export interface Schedule {
  cross: Cross;
  /** Each makes one of the calls that wait, and settles when it has been answered. */
  waiting(): readonly (() => Promise<void>)[];
  /** Settles when whoever makes the calls has come to rest: its calls wait, or it has nothing to do. */
  quiet(): Promise<void>;
  /** Whoever makes the calls is dead: it hears no answer any more. With `late`, calls that wait may still be made. */
  die(late: boolean): void;
  alive(): boolean;
  /** While on, calls that are begun are made at once. */
  hurry(on: boolean): void;
  /** From now on every call is made at once; settles when those that waited have been answered. */
  open(): Promise<void>;
}

export function createSchedule(): Schedule {
  const calls = new Set<() => Promise<void>>();
  const never = new Promise<never>(() => {});
  let atOnce = false;
  let dead = false;
  let begun = 0;

  return {
    cross: async (_what, call) => {
      begun += 1;
      if (dead) return await never;
      if (atOnce) return await call();
      const go = Promise.withResolvers<void>();
      const answered = Promise.withResolvers<void>();
      const make = (): Promise<void> => {
        calls.delete(make);
        go.resolve();
        return answered.promise;
      };
      calls.add(make);
      await go.promise;
      const [outcome] = await Promise.allSettled([call()]);
      answered.resolve();
      if (dead) return await never;
      if (outcome.status === "rejected") throw outcome.reason;
      return outcome.value;
    },
    waiting: () => [...calls],
    quiet: async () => {
      let before = begun;
      for (let rest = 0, turns = 0; rest < restTurns; turns += 1) {
        if (turns === turnsMax) throw new Error("a replica does not come to rest");
        await new Promise((resolve) => setImmediate(resolve));
        rest = begun === before ? rest + 1 : 0;
        before = begun;
      }
    },
    die: (late) => {
      dead = true;
      if (!late) calls.clear();
    },
    alive: () => !dead,
    hurry: (on) => void (atOnce = on),
    open: async () => {
      atOnce = true;
      await Promise.all([...calls].map((make) => make()));
    },
  };
}
