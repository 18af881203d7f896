// The newest flow records, and how many of each pod are told: both bounded, whatever happens on the node.

import { keepNewest } from "../../base/newest.ts";
import type { FlowRecord } from "./record.ts";

/** Records that are kept; the oldest goes first. */
export const recordsMax = 4096;
/** Records in one answer. */
export const answerRecordsMax = 1000;
/** Records of one pod at once, and how many more a second. What is beyond is counted. */
export const podBurst = 50;
export const podPerSecond = 10;
/** Pods whose allowance is remembered; the one longest unheard of goes first. */
const podsMax = 2048;
/** Pods in one list of those of which not everything was told. */
const suppressedListedMax = 64;

export interface Ring {
  /** Keeps a record, and gives it its number. */
  add(record: Omit<FlowRecord, "number">): FlowRecord;
  /** Those after that number that are wanted, the oldest first; the newest of them where there are more than one answer holds. */
  after(number: number, isWanted: (record: FlowRecord) => boolean): FlowRecord[];
  /** The number of the newest; 0 where there is none yet. */
  newest(): number;
}

export function createRing(): Ring {
  const kept: FlowRecord[] = [];
  let given = 0;
  return {
    add: (record) => {
      given += 1;
      const made = { number: given, ...record };
      kept[given % recordsMax] = made;
      return made;
    },
    after: (number, isWanted) => {
      const found: FlowRecord[] = [];
      const first = Math.max(number, given - recordsMax) + 1;
      for (let at = given; at >= first && found.length < answerRecordsMax; at -= 1) {
        const record = kept[at % recordsMax];
        if (record !== undefined && isWanted(record)) found.push(record);
      }
      return found.reverse();
    },
    newest: () => given,
  };
}

export interface Allowance {
  /** Whether one more of that pod is told; then with how many were not since the last one that was. */
  take(pod: string): { suppressed: number } | undefined;
  /** Of which pods most was not told since the agent's start. */
  suppressed(): { pod: string; flows: number }[];
}

interface Bucket {
  left: number;
  atMs: number;
  /** Since the last that was told, and since the agent's start. */
  since: number;
  total: number;
}

/** `clock` gives milliseconds that only go forward. */
export function createAllowance(clock: () => number): Allowance {
  const buckets = new Map<string, Bucket>();
  return {
    take: (pod) => {
      const nowMs = clock();
      const bucket = buckets.get(pod) ?? { left: podBurst, atMs: nowMs, since: 0, total: 0 };
      keepNewest(buckets, pod, bucket, podsMax);
      bucket.left = Math.min(podBurst, bucket.left + ((nowMs - bucket.atMs) / 1000) * podPerSecond);
      bucket.atMs = nowMs;
      if (bucket.left < 1) {
        bucket.since += 1;
        bucket.total += 1;
        return undefined;
      }
      bucket.left -= 1;
      const suppressed = bucket.since;
      bucket.since = 0;
      return { suppressed };
    },
    suppressed: () =>
      [...buckets]
        .flatMap(([pod, { total }]) => (total === 0 ? [] : [{ pod, flows: total }]))
        .toSorted((a, b) => b.flows - a.flows)
        .slice(0, suppressedListedMax),
  };
}
