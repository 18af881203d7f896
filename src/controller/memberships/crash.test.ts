// A leader that dies, or sleeps and wakes, at each of its calls: in the end every membership is what pods and policies say.

import { test } from "node:test";
import {
  checkMemberships,
  membershipUpheavals,
  setMembershipStage,
  tenantsIn,
} from "../../../test/controller/membership-stage.ts";
import type { Stage } from "../../../test/controller/stage.ts";
import { type Ground, walk } from "../../../test/controller/walk.ts";

const ground: Ground = {
  setStage: setMembershipStage,
  check: checkMemberships,
  of: / membershipslices /,
  parts: [/^PUT membershipslices/, /^POST membershipslices/, /^DELETE membershipslices/],
};

for (const what of ["before", "after"] as const) {
  test(`a leader dies ${what} each of its writes of slices`, () =>
    walk(ground, { what, upheaval: async () => [], deaf: [] }));
}

async function befall(stage: Stage, happening: keyof typeof membershipUpheavals): Promise<string[]> {
  await membershipUpheavals[happening](tenantsIn(stage.world), stage.world);
  await stage.settle();
  return [];
}

test("a leader sleeps at each of its writes; an address becomes that of a pod that is no member; nothing that it does then says otherwise", () =>
  walk(ground, {
    what: "stall",
    upheaval: (stage) => befall(stage, "an address becomes that of a pod that is no member"),
    deaf: [],
    awake: checkMemberships,
  }));

/** Of what it hears nothing more, and the caches of that; of all where none is named. */
const deafness = [
  ["anything", []],
  ["pods and slices", ["pods", "endpoints", "slices"]],
] as const;

for (const [what, deaf] of deafness)
  test(`a leader sleeps at each of its writes, and hears nothing more of ${what}; much changes`, () =>
    walk(ground, {
      what: "stall",
      upheaval: (stage) => befall(stage, "members come, labels change, a node goes and a policy names others"),
      deaf,
      awake: checkMemberships,
    }));
