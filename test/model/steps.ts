// What can happen to a node, one step after the other, and how such a list is made at random.

import fc from "fast-check";
import type { Fate } from "./mortal.ts";

/** Pods that a run plays with. */
export const podsMax = 50;
/** Steps of one run at most. */
export const stepsMax = 40;

export interface PodCall {
  verb: "ADD" | "DEL" | "CHECK";
  pod: number;
  /** About the sandbox that the pod had before its present one. */
  late?: boolean;
}

export type Step =
  /** Calls that the runtime makes at once. */
  | { do: "calls"; calls: PodCall[]; fate?: Fate }
  /** The runtime lists what it runs, but forgets some. */
  | { do: "gc"; forgotten: number[] }
  | { do: "restart" }
  | { do: "reboot" }
  /** The pod's namespace goes without a word. */
  | { do: "vanish"; pod: number }
  | { do: "wait"; seconds: number };

const pod = fc.nat(podsMax - 1);
/** Few pods meet each other more often. */
const nearPod = fc.oneof(fc.nat(4), pod);

const podCall: fc.Arbitrary<PodCall> = fc.record(
  { verb: fc.constantFrom("ADD", "ADD", "ADD", "DEL", "DEL", "CHECK"), pod: nearPod, late: fc.constant(true) },
  { requiredKeys: ["verb", "pod"] },
) as fc.Arbitrary<PodCall>;

const fate: fc.Arbitrary<Fate> = fc.record({
  what: fc.constantFrom("dies", "dies", "fails"),
  at: fc.integer({ min: 1, max: 30 }),
  when: fc.constantFrom("before", "after"),
});

export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("calls" as const),
      calls: fc.array(podCall, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("calls" as const),
      calls: fc.array(podCall, { minLength: 1, maxLength: 3 }),
      fate,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("gc" as const), forgotten: fc.array(nearPod, { maxLength: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reboot" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("vanish" as const), pod: nearPod }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const), seconds: fc.constantFrom(1, 10, 30, 61) }) },
);

export const anyRun = fc.array(anyStep, { minLength: 1, maxLength: stepsMax, size: "max" });
