// The agent dies at each call of a start that finds half an ADD, unknown and doomed links and release files: the next start finishes it.

import { test } from "node:test";
import { walkDeaths } from "./matrix.ts";
import { startPhase } from "./phases.ts";
import { makeStage } from "./stage.ts";

for (const when of ["before", "after"] as const) {
  test(`death ${when} each call of a start on what another death left`, { timeout: 600_000 }, async (t) => {
    const stage = await makeStage(t);
    await walkDeaths(t, stage, startPhase(stage), when);
  });
}
