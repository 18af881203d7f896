// Mass removal waits: what would take away a large part of everything at once has to be seen twice before it is believed.

/** Fewer things than this are never many. */
const manyMin = 50;
/** More than this part of all is a mass. */
const massShare = 0.2;
/** Between the first sighting and the one that counts. */
export const secondSightMs = 30_000;

export interface SecondSight {
  /**
   * Which of `doomed` (names) may be removed now, where there are `total` of the kind: all of them or, where that is a mass, those that
   * were doomed 30 s ago as well. What is no longer doomed is forgotten.
   */
  admit(doomed: readonly string[], total: number): Set<string>;
}

/** `now`: ms, of any clock that only goes forward. */
export function createSecondSight(now: () => number): SecondSight {
  let seenMs = new Map<string, number>();
  return {
    admit: (doomed, total) => {
      const before = seenMs;
      seenMs = new Map(doomed.map((name) => [name, before.get(name) ?? now()]));
      if (total < manyMin || doomed.length <= total * massShare) return new Set(doomed);
      return new Set(doomed.filter((name) => now() - (seenMs.get(name) ?? now()) >= secondSightMs));
    },
  };
}
