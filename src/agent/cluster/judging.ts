// What the agent tells the cluster of its policy: by which state of the groups it judges, and whether something goes round it.

import { policyBypassed } from "../../kube/objects.ts";
import type { KeptFaults } from "./kept-faults.ts";

/** What holds on this node now. */
export interface Judging {
  /**
   * The mark of the security groups by which the kernel judges. "in none": no pod of the node is in any. "as told": the cluster has not told
   * everything yet, so the kernel judges as it did.
   */
  groups: { mark: string } | "in none" | "as told";
  /** Why packets can pass unjudged. "not known": nobody could look yet. */
  bypass: { why: string } | "none" | "not known";
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
}

/** `onGroups` is called where what is to be told of groups has changed; `bypasses` takes what goes round policy. */
export function createJudging(bypasses: Pick<KeptFaults, "now">, onGroups: () => void): ToldJudging {
  const groups = createPaced<string | undefined>(undefined, judgingEveryMs, () => performance.now());
  let isKnown = false;
  const wantGroups = (mark: string | undefined): void => {
    const isFirst = !isKnown;
    isKnown = true;
    groups.want(mark);
    if (isFirst || groups.waitMs() !== undefined) onGroups();
  };
  return {
    now: ({ groups: now, bypass }) => {
      if (typeof bypass === "object") wantGroups(undefined);
      else if (bypass === "none" && now !== "as told") wantGroups(now === "in none" ? undefined : now.mark);
      if (bypass !== "not known")
        bypasses.now(bypass === "none" ? [] : [{ code: policyBypassed, message: bypass.why }]);
    },
    groups: (told) => (isKnown ? groups.due() : told),
    waitMs: groups.waitMs,
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
