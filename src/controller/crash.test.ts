// A leader that dies, or sleeps and wakes, at each of its calls to the API server in turn: nothing is given twice, nothing is lost.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createLife, type Fate } from "../../test/controller/crossing.ts";
import { startReplica } from "../../test/controller/replica.ts";
import { checkSettled, settle } from "../../test/controller/settled.ts";
import { setStage, type Stage, upheavals } from "../../test/controller/stage.ts";

/** More calls than a leader can need for the stage: a matrix that does not come to an end is wrong. */
const callsMax = 150;
/** A leader's passes before it is done with the stage. */
const passes = 4;

/** Plays the stage with a leader of that fate and another one after it. Gives the call that was struck; undefined where none was. */
async function play(fate: Fate, upheaval: (stage: Stage) => Promise<string[]>): Promise<string | undefined> {
  const world = await setStage();
  const life = createLife(fate);
  const first = await startReplica(world, life);
  const second = await startReplica(world, createLife());
  try {
    const working = (async () => {
      for (let pass = 0; pass < passes; pass += 1) {
        await first.pass();
        await first.catchUp();
      }
      return "done";
    })();
    if ((await Promise.race([working, life.struck])) === "done") return undefined;
    first.freeze();
    await settle(world, second);
    const unserved = await upheaval({ world, settle: () => settle(world, second) });
    await settle(world, second);
    if (fate.what === "stall") {
      life.wake();
      // It goes on with what it knew; that its calls are refused is as it should be.
      await working.catch(() => {});
      await first.pass().catch(() => {});
      await settle(world, second);
    }
    await checkSettled(world, new Set(unserved));
    return life.last();
  } finally {
    await Promise.all([first.close(), second.close()]);
    await world.close();
  }
}

async function walk(what: Fate["what"], upheaval: (stage: Stage) => Promise<string[]>): Promise<string[]> {
  const struck: string[] = [];
  for (let call = 1; call <= callsMax; call += 1) {
    const last = await play({ call, what }, upheaval).catch((cause: unknown) => {
      throw new Error(`${what} call ${call}`, { cause });
    });
    if (last === undefined) return struck;
    struck.push(last);
  }
  throw new Error(`the leader makes more than ${callsMax} calls`);
}

/** What a leader cannot do without: a walk that misses one of them proves nothing. */
function checkWalk(struck: readonly string[]): void {
  const parts = [
    /^POST blockledgers v4/,
    /^POST blockledgers v6/,
    /^PUT blockledgers/,
    /^PATCH nodes n2/,
    /^PATCH nodenetworks n2/,
    /^DELETE nodenetworks old/,
    /^DELETE nodeendpoints old/,
    /^LIST nodes/,
  ];
  for (const part of parts)
    assert.ok(
      struck.some((call) => part.test(call)),
      `a call ${part.source} was struck`,
    );
}

for (const what of ["before", "after"] as const) {
  test(`a leader dies ${what} each of its calls is made`, async () => {
    checkWalk(await walk(what, async () => []));
  });
}

for (const [name, upheaval] of Object.entries(upheavals)) {
  test(`a leader sleeps at each of its calls, ${name}, it wakes and goes on with what it knew`, async () => {
    checkWalk(await walk("stall", upheaval));
  });
}
