// The agent dies at each call that it makes behind the answer to DEL: links, connections and cooled addresses are the next one's.

import { test } from "node:test";
import { walkDeaths } from "./matrix.ts";
import { reaperPhase } from "./phases.ts";
import { makeStage } from "./stage.ts";

for (const when of ["before", "after"] as const) {
  test(`death ${when} each call of the reaper`, { timeout: 300_000 }, async (t) => {
    const stage = await makeStage(t);
    await walkDeaths(t, stage, reaperPhase(stage), when);
  });
}
