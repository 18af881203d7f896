// Members that are gone without a trace: few are believed to be at once, many only when they are still gone a while later.

import { type Brake, createBrake } from "../../base/brake.ts";
import type { MembershipSlice } from "../../kube/policy-objects.ts";
import { idsOf, type Members } from "./slices.ts";

/** Of fewer members than this, any number may go at once. */
const manyMin = 50;
/** How long many members must have been gone before they are believed to be. */
export const massSettleMs = 30_000;

export interface Losses {
  /**
   * The ids in `slices` that are no members and stay all the same for now. What is attached and only no member any more goes at
   * once: somebody has said so. Call it for a membership in each pass in which its slices may change.
   */
  keptOf(
    key: string,
    slices: readonly MembershipSlice[],
    members: Members,
    isAttached: (id: string) => boolean,
  ): ReadonlySet<string>;
  /** Forgets the memberships that are not among these. */
  retain(keys: ReadonlySet<string>): void;
}

const none: ReadonlySet<string> = new Set();

export function createLosses(clock: () => number): Losses {
  /** Of memberships of which something is held back. */
  const brakes = new Map<string, Brake>();
  return {
    keptOf: (key, slices, members, isAttached) => {
      const gone = new Set<string>();
      let held = 0;
      for (const slice of slices) {
        held += slice.endpoints.length;
        for (const id of idsOf(slice)) if (!members.has(id) && !isAttached(id)) gone.add(id);
      }
      const lost = [...gone];
      const brake = brakes.get(key) ?? createBrake({ settleMs: massSettleMs, manyMin, clock });
      const admitted = brake.allow(lost, held);
      if (admitted.size === lost.length) {
        brakes.delete(key);
        return none;
      }
      brakes.set(key, brake);
      return new Set(lost.filter((id) => !admitted.has(id)));
    },
    retain: (keys) => {
      for (const key of brakes.keys()) if (!keys.has(key)) brakes.delete(key);
    },
  };
}
