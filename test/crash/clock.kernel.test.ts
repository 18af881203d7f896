// Somebody sets the wall clock while pods come and go: by hours and by years, there and back. Cooling does not feel it, and nobody waits.

import assert from "node:assert/strict";
import { test } from "node:test";
import { coolDefaultMs } from "../../src/ipam/pool.ts";
import { bystander, makeStage, type Stage } from "./stage.ts";

const hourMs = 3_600_000;
const yearMs = 365 * 24 * hourMs;

/** What is left beside the bystander's: four addresses of each family. */
const blocks = ["10.4.0.0/29", "fd00:10:4:1::/125"];
const ids = ["c1", "c2", "c3", "c4"];

/** Code of pool-empty: try again later. */
const poolEmpty = 11;

/** Every address but the bystander's cools, and none is given. */
async function refusesAll(stage: Stage): Promise<void> {
  const { code, stdout } = await stage.tryAdd("c1");
  assert.equal(code, poolEmpty, stdout);
  assert.match(stdout, /1 in use, 4 cooling, next free in [1-6]?[0-9] s/);
}

for (const [what, jumpMs] of [
  ["three hours on", 3 * hourMs],
  ["three hours back", -3 * hourMs],
  ["thirty years on", 30 * yearMs],
  ["thirty years back", -30 * yearMs],
] as const) {
  test(`the clock is set ${what}, and again, with an agent and between two`, async (t) => {
    const stage = await makeStage(t, { blocks });
    for (const id of ids) await stage.add(id);
    await stage.jump(jumpMs);
    await stage.audit("set while pods live");
    await stage.delete("c1");
    assert.equal((await stage.collect([bystander, "c4"])).code, 0);
    await stage.jump(jumpMs);
    await stage.delete("c4");
    await stage.audit("set between DELs");
    await refusesAll(stage);
    stage.agent().signal("SIGKILL");
    await stage.agent().ended;
    await stage.startAgent();
    await refusesAll(stage);
    await stage.jump(-2 * jumpMs);
    await refusesAll(stage);
    await stage.advance(coolDefaultMs - 1500);
    // Worth waiting for: also where the clock is set meanwhile.
    const waiting = stage.add("c1");
    await stage.jump(jumpMs);
    await waiting;
    await stage.advance(coolDefaultMs);
    for (const id of ids.slice(1)) await stage.add(id);
    await stage.audit("all that cooled is given again");
    for (const id of ids) await stage.delete(id);
  });
}
