// When policy is written down for the next agent: what decides soon after it was heard, who is a member of what as seldom as its size asks.

import { restOf } from "../../base/loop.ts";
import { sameItems } from "../../base/same-items.ts";
import type { KeptPolicy } from "./kept.ts";

/** The file holds every member: where they are many and come and go all the time, it takes a small share of processor and disk. */
const membersRestMs = restOf({ times: 100, leastMs: 500, mostMs: 10_000 });
/**
 * An agent that is killed without the API server to ask has only what was written: a pod that comes then is judged by it, and a policy
 * that it lacks would not be there for that pod.
 */
export const decidingRestMs = restOf({ times: 10, leastMs: 50, mostMs: 1_000 });
const quietMs = 60_000;

export interface WritingDeps {
  /** What the next agent is to have; undefined while the cluster has not told everything. */
  keepable: () => KeptPolicy | undefined;
  /** What decides: the same items as long as nothing of it has changed. Asked only where there is something to keep. */
  deciding: () => readonly unknown[];
  write: (policy: KeptPolicy) => Promise<void>;
  /** Milliseconds. */
  clock: () => number;
}

export interface Writing {
  /** Writes where something that decides has changed, or the rest after the last time is over. */
  sync: () => Promise<void>;
  /** When a pass is due, though nothing changes. */
  dueMs: () => number;
  /** Writes whatever there is. */
  all: () => Promise<void>;
}

export function createWriting({ keepable, deciding, write, clock }: WritingDeps): Writing {
  let written: readonly unknown[] | undefined;
  let restsUntilMs = 0;
  let isWaiting = false;

  const all = async (): Promise<void> => {
    const kept = keepable();
    if (kept === undefined) return;
    const now = deciding(); // before anything is awaited: as `kept` is
    const startedMs = clock();
    await write(kept);
    const endedMs = clock();
    written = now;
    restsUntilMs = endedMs + membersRestMs(endedMs - startedMs);
  };

  return {
    all,
    sync: async () => {
      isWaiting = written !== undefined && sameItems(written, deciding()) && clock() < restsUntilMs;
      if (!isWaiting) await all();
    },
    dueMs: () => (isWaiting ? Math.max(0, restsUntilMs - clock()) : quietMs),
  };
}
