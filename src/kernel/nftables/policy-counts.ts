// What the counters of the policy table have counted, summed over their lives: they come and go with the layers that they belong to.

import { otherCounters } from "../../policy/counters.ts";

export interface Counts {
  /** Takes in what each of them says now; to be done before any of them goes. */
  say: (now: ReadonlyMap<string, number>) => void;
  /** These are gone: what comes under one of these names is another counter. */
  dropped: (names: readonly string[] | "all") => void;
  /** Packets by counter since it was asked last. */
  taken: () => ReadonlyMap<string, number>;
}

/** Counters that have gone and that nobody has asked for since; those beyond are summed under `otherCounters`. */
export const goneCountersMax = 4096;

/** Sums that begin at zero. */
export function createCounts(): Counts {
  /** As they said last. */
  let said = new Map<string, number>();
  const due = new Map<string, number>();
  const add = (name: string, packets: number): void => void due.set(name, (due.get(name) ?? 0) + packets);
  return {
    say: (now) => {
      for (const [name, packets] of now) {
        const before = said.get(name) ?? 0;
        // Below what it said, it is another of that name: all of it is new.
        const came = packets >= before ? packets - before : packets;
        const isKnown = due.has(name) || due.size < now.size + goneCountersMax;
        add(isKnown ? name : otherCounters, came);
      }
      said = new Map(now);
    },
    dropped: (names) => {
      if (names === "all") said.clear();
      else for (const name of names) said.delete(name);
    },
    taken: () => {
      const taken = new Map(due);
      due.clear();
      return taken;
    },
  };
}
