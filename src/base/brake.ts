// Removals that look like a mistake are held back until they have been wanted for a while: a cache that is wrong for a moment must not empty a node.

/** A pass that would remove more than this share of what is there is braked. */
export const removalShareMax = 0.2;

export interface BrakeOptions {
  /** How long a large removal must have been wanted before it happens. */
  settleMs: number;
  /** Where fewer things than this are there, they are never many. */
  manyMin?: number;
  /** Ms that never go back. */
  clock: () => number;
}

export interface Brake {
  /**
   * Which of `unwanted` may go now, of `heldCount` that are there. Few go at once; many when each of them has been unwanted in
   * every pass of the last `settleMs`. Call it once in each pass, also with nothing unwanted.
   */
  allow(unwanted: readonly string[], heldCount: number): ReadonlySet<string>;
}

/** A brake for one kind of thing. */
export function createBrake({ settleMs, manyMin = 0, clock }: BrakeOptions): Brake {
  let sinceMs = new Map<string, number>();
  return {
    allow: (unwanted, heldCount) => {
      const nowMs = clock();
      sinceMs = new Map(unwanted.map((key) => [key, sinceMs.get(key) ?? nowMs]));
      if (heldCount < manyMin || unwanted.length <= heldCount * removalShareMax) return new Set(unwanted);
      return new Set(unwanted.filter((key) => nowMs - (sinceMs.get(key) ?? nowMs) >= settleMs));
    },
  };
}
