// An agent whose fate is one of its calls: it ends there, or hears of an error, or waits; everything before that call is done.

/** What happens at the calls of an agent. `name` says which call it is, for people. */
export interface Crossing {
  /** A call that is done when it returns. */
  now<T>(name: string, work: () => T): T;
  /** A call that the addon's own threads do. */
  soon<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/** What happens at the call that is the `at`-th, counted from 1 since it was decided. */
export interface Fate {
  at: number;
  /**
   * "ends": the process dies. "before" the call, exactly the calls before it are made, those too that the kernel is still at work
   * on; "after" it, it is made and its caller does not hear so, and what was asked for together with it may be done or not.
   * "fails": its caller hears of an error, before or after it was made. "waits": before it is made, until it is let go.
   */
  does: "ends" | "fails" | "waits";
  when: "before" | "after";
  /** Whose calls count: those for somebody who called, those of the reaper, or all if absent. Of fates that fail only calls that can. */
  whose?: Whose;
  /** Name of the error; ENOMEM if absent. */
  errno?: string;
}

export type Whose = "callers" | "reaper";

export interface MortalOptions {
  /** Ends the process and does not return. */
  end: () => void;
  /** Returns when the call that waits may go on; nothing else happens meanwhile. */
  hold: () => void;
  /** Told before anything of that, with the name of the call. */
  reached: (name: string) => void;
  /** Whether the call at hand is one of theirs. */
  is: Readonly<Record<Whose, () => boolean>>;
  /** What a call of that name says when it fails; undefined where it cannot. */
  failure: (name: string, fate: Fate) => Error | undefined;
}

export interface Mortal {
  crossing: Crossing;
  /** Counts from here on. */
  decide(fate?: Fate): void;
  /** From here on nothing happens at any call; what was met already takes its course. */
  lift(): void;
  /** Calls since a fate was decided. */
  calls(): number;
  /** Whether one of them took over a connection: a caller whose request came in parts is answered on another way. */
  takenOver(): boolean;
  /** True once the last call has been reached: the process only waits for the kernel's threads to end what they do. */
  dying(): boolean;
}

/** What a call of a dying agent throws where it cannot wait for ever. */
class Dying extends Error {}

const never = <T>(): Promise<T> => new Promise<T>(() => {});

/** What becomes of a call: made as ever, not at all, or what its caller hears of it. */
type Meeting = "made" | "not made" | "last" | { failsBefore: Error } | { failsAfter: Error };

/** Makes one, without a fate. */
export function createMortal({ end, hold, reached, is, failure }: MortalOptions): Mortal {
  const underWay = new Set<Promise<unknown>>();
  let fate: Fate | undefined;
  let calls = 0;
  let dying = false;
  let takenOver = false;

  /** Counts a call, if it counts. */
  const meet = (name: string): Meeting => {
    if (dying) return "not made";
    if (fate?.whose !== undefined && !is[fate.whose]()) return "made";
    if (name === "takeOver") takenOver = true;
    const error = fate?.does === "fails" ? failure(name, fate) : undefined;
    if (fate?.does === "fails" && error === undefined) return "made";
    calls += 1;
    if (fate?.at !== calls) return "made";
    if (fate.does !== "ends" || fate.when === "before") reached(name);
    if (error !== undefined) return fate.when === "before" ? { failsBefore: error } : { failsAfter: error };
    if (fate.does === "waits") hold();
    if (fate.does !== "ends") return "made";
    if (fate.when === "after") return "last";
    dying = true;
    if (underWay.size === 0) end();
    return "not made";
  };

  const endAfter = (name: string): void => {
    dying = true;
    reached(name);
    end();
  };

  return {
    crossing: {
      now: (name, work) => {
        const meeting = meet(name);
        if (meeting === "not made") throw new Dying(name);
        if (typeof meeting === "object" && "failsBefore" in meeting) throw meeting.failsBefore;
        try {
          return work();
        } finally {
          if (meeting === "last") endAfter(name);
        }
      },
      soon: async (name, work) => {
        const meeting = meet(name);
        if (meeting === "not made") return never();
        if (typeof meeting === "object" && "failsBefore" in meeting) throw meeting.failsBefore;
        const working = work();
        underWay.add(working);
        await Promise.allSettled([working]);
        underWay.delete(working);
        if (dying && underWay.size === 0) end();
        if (dying) return never();
        if (meeting === "last") endAfter(name);
        if (typeof meeting === "object") throw meeting.failsAfter;
        return working;
      },
    },
    decide: (next) => {
      fate = next;
      calls = 0;
      takenOver = false;
    },
    lift: () => (fate = undefined),
    calls: () => calls,
    takenOver: () => takenOver,
    dying: () => dying,
  };
}
