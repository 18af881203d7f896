// Each call of the addon and each statement fails once, in every phase: callers hear why, nothing is half done, and the next try works.

import { test } from "node:test";
import { walkFailures } from "./matrix.ts";
import { addPhase, collectPhase, deletePhase, type Phase, reaperPhase } from "./phases.ts";
import { makeStage, type Stage } from "./stage.ts";

const errnos = ["ENOMEM", "EBUSY", "EEXIST", "ENOBUFS"];
const phases: [name: string, make: (stage: Stage) => Phase, callsMin: { before: number; after: number }][] = [
  ["ADD", addPhase, { before: 11, after: 6 }],
  ["DEL", deletePhase, { before: 11, after: 3 }],
  ["GC", collectPhase, { before: 21, after: 6 }],
  // Fewer where both links go in one batch.
  ["what DEL leaves for later", reaperPhase, { before: 10, after: 4 }],
];

for (const when of ["before", "after"] as const) {
  for (const [name, make, callsMin] of phases) {
    test(`${name}: errors ${when === "before" ? "instead of" : "after"} each call`, { timeout: 300_000 }, async (t) => {
      const stage = await makeStage(t);
      await walkFailures(t, stage, { ...make(stage), callsMin: callsMin[when] }, when, () => errnos);
    });
  }
}
