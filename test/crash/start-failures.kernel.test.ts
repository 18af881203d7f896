// Each call of a start fails once: it ends with what is wrong, or puts itself right; living pods never feel it.

import { test } from "node:test";
import { walkFailures } from "./matrix.ts";
import { lostStatePhase, startPhase } from "./phases.ts";
import { makeStage } from "./stage.ts";

const errnos = ["ENOMEM", "EBUSY", "EEXIST", "ENOBUFS"] as const;

for (const when of ["before", "after"] as const) {
  // The errors take turns, shifted between the phases, which have most of their calls in common.
  for (const [name, make, shift] of [
    ["on what a death left", startPhase, 0],
    ["without state, guard and node routes", lostStatePhase, 2],
  ] as const) {
    test(
      `a start ${name}: an error ${when === "before" ? "instead of" : "after"} each call`,
      { timeout: 300_000 },
      async (t) => {
        const stage = await makeStage(t);
        const phase = { ...make(stage), callsMin: when === "before" ? 45 : 40 };
        await walkFailures(t, stage, phase, when, (at) => [errnos[(at + shift) % errnos.length] ?? "ENOMEM"]);
      },
    );
  }
}
