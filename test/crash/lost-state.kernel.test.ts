// The agent dies at each call of a start that finds no state file: pods are read back from their links, however often it begins anew.

import { test } from "node:test";
import { walkDeaths } from "./matrix.ts";
import { lostStatePhase } from "./phases.ts";
import { makeStage } from "./stage.ts";

for (const when of ["before", "after"] as const) {
  test(`death ${when} each call of a start without state, guard and node routes`, { timeout: 600_000 }, async (t) => {
    const stage = await makeStage(t);
    await walkDeaths(t, stage, lostStatePhase(stage), when);
  });
}
