// What stands in a Lease and what may be concluded from it: whether it is free, by how long it has not changed.

import type { Lease } from "./core-objects.ts";

/** A lease that claims to last longer is taken for one of this length. */
const recordMsMax = 3_600_000;

export interface Observer {
  /** Takes in what was just read (undefined: there is none) and says whether the lease may be taken. */
  isFree(found: Lease | undefined): boolean;
  /** Who holds it as last read; "" for nobody. */
  holder(): string;
}

/**
 * Watches a lease for the candidate `self`. It is judged by how long it has not changed here, on the monotonic clock: the times that
 * stand in it are another clock's.
 */
export function createObserver(self: string, leaseMs: number, nowMs = (): number => performance.now()): Observer {
  let last: { state: string; holder: string; sinceMs: number; validMs: number } | undefined;

  function observe(found: Lease | undefined, state: string): NonNullable<typeof last> {
    const sinceMs = nowMs();
    // A lease that vanishes under its holder leaves that holder all of its time.
    if (found === undefined) return { state, holder: last?.holder ?? "", sinceMs, validMs: last?.validMs ?? 0 };
    const { holderIdentity: holder = "", leaseDurationSeconds = 0 } = found.spec;
    return { state, holder, sinceMs, validMs: Math.max(leaseMs, Math.min(leaseDurationSeconds * 1000, recordMsMax)) };
  }

  return {
    isFree: (found) => {
      const state = found === undefined ? "" : JSON.stringify([found.metadata.uid, found.spec]);
      if (last?.state !== state) last = observe(found, state);
      return last.holder === "" || last.holder === self || nowMs() >= last.sinceMs + last.validMs;
    },
    holder: () => last?.holder ?? "",
  };
}

/** What `self` writes to take the lease that was found, or a new one. */
export function takenBy(self: string, leaseMs: number, found: Lease | undefined): Lease["spec"] {
  const now = microTime();
  const { holderIdentity: previous = "", acquireTime = now, leaseTransitions = 0 } = found?.spec ?? {};
  return {
    holderIdentity: self,
    leaseDurationSeconds: Math.ceil(leaseMs / 1000),
    acquireTime: previous === self ? acquireTime : now,
    renewTime: now,
    leaseTransitions: leaseTransitions + (found === undefined || previous === self ? 0 : 1),
  };
}

/** What a holder writes to be one no more. */
export const givenBack = ({ spec }: Lease): Lease["spec"] => ({
  ...spec,
  holderIdentity: "",
  leaseDurationSeconds: 1,
  renewTime: microTime(),
});

/** The server's MicroTime; informs people, decides nothing. */
export const microTime = (): string => new Date().toISOString().replace("Z", "000Z");
