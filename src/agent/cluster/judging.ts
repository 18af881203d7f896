// What the agent tells the cluster of its policy: by which state of the groups it judges, and whether something goes round it.

import { isDeepStrictEqual } from "node:util";
import type { Log } from "../../base/log.ts";
import { policyBypassed } from "../../kube/objects.ts";
import type { NodeFault } from "./peers.ts";

/** What holds on this node now. */
export interface Judging {
  /**
   * The mark of the security groups by which the kernel judges. "in none": no pod of the node is in any. "as told": the cluster has not told
   * everything yet, so the kernel judges as it did.
   */
  groups: { mark: string } | "in none" | "as told";
  /** Why packets can pass unjudged. */
  bypass: string | undefined;
}

/** Between two writes that only tell of another state of groups: an edit reaches all nodes at once. */
export const judgingEveryMs = 5_000;

/** What is to be written of it. */
export interface ToldJudging {
  now: (judging: Judging) => void;
  /** The mark that is to be told now, none where something goes round policy; given what was told before, by whichever agent. */
  groups: (told: string | undefined) => string | undefined;
  /** Until a newer mark may be told; undefined where there is none. */
  waitMs: () => number | undefined;
  bypass: () => NodeFault | undefined;
}

/** `onGroups` and `onBypass` are called where what is to be told has changed. */
export function createJudging(
  log: Log,
  { onGroups, onBypass }: { onGroups: () => void; onBypass: () => void },
): ToldJudging {
  const groups = createPaced<string | undefined>(undefined, judgingEveryMs, () => performance.now());
  let fault: NodeFault | undefined;
  let isKnown = false;
  return {
    now: ({ groups: now, bypass }) => {
      if (bypass !== undefined || now !== "as told") {
        const isFirst = !isKnown;
        isKnown = true;
        groups.want(bypass === undefined && typeof now === "object" ? now.mark : undefined);
        if (isFirst || groups.waitMs() !== undefined) onGroups();
      }
      if (bypass === fault?.message) return;
      fault = bypass === undefined ? undefined : { code: policyBypassed, message: bypass };
      if (fault === undefined) log.info("nothing goes round policy any more");
      else log.warn({ code: fault.code }, fault.message);
      onBypass();
    },
    groups: (told) => (isKnown ? groups.due() : told),
    waitMs: groups.waitMs,
    bypass: () => fault,
  };
}

/** A value that is told at most every `everyMs`, the first one at once. */
export interface Paced<T> {
  want: (value: T) => void;
  /** What is to be told now. */
  due: () => T;
  /** Until the newest value may be told; undefined where it has been. */
  waitMs: () => number | undefined;
}

/** `clock` in milliseconds, never going back. */
export function createPaced<T>(first: T, everyMs: number, clock: () => number): Paced<T> {
  let [told, newest] = [first, first];
  let toldMs = -Infinity;
  const left = (): number => Math.max(0, everyMs - (clock() - toldMs));
  return {
    want: (value) => {
      newest = value;
    },
    due: () => {
      if (newest !== told && left() === 0) {
        told = newest;
        toldMs = clock();
      }
      return told;
    },
    waitMs: () => (newest === told ? undefined : left()),
  };
}

/** Faults of the node that somebody keeps up: told, and logged, when they become others. */
export interface KeptFaults {
  now: (faults: readonly NodeFault[]) => void;
  held: () => readonly NodeFault[];
}

/** `onChange` is called where they have changed. */
export function createKeptFaults(log: Log, onChange: () => void): KeptFaults {
  let held: readonly NodeFault[] = [];
  return {
    now: (faults) => {
      if (isDeepStrictEqual(faults, held)) return;
      held = faults;
      for (const { code, message } of faults) log.warn({ code }, message);
      onChange();
    },
    held: () => held,
  };
}
