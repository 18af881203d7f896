// The agent dies at each call that it makes in ADD, DEL and GC: callers hear the truth, the next agent leaves nothing and loses nothing.

import { test } from "node:test";
import { walkDeaths } from "./matrix.ts";
import { addPhase, collectPhase, deletePhase } from "./phases.ts";
import { makeStage } from "./stage.ts";

const timeout = 300_000;

for (const when of ["before", "after"] as const) {
  test(`death ${when} each call of ADD`, { timeout }, async (t) => {
    const stage = await makeStage(t);
    await walkDeaths(t, stage, addPhase(stage), when);
  });

  test(`death ${when} each call of DEL`, { timeout }, async (t) => {
    const stage = await makeStage(t);
    await walkDeaths(t, stage, deletePhase(stage), when);
  });

  test(`death ${when} each call of GC`, { timeout }, async (t) => {
    const stage = await makeStage(t);
    await walkDeaths(t, stage, collectPhase(stage), when);
  });
}
