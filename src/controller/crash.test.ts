// A leader that dies, or sleeps and wakes, at each of its calls to the API server in turn: nothing is given twice, nothing is lost.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../base/assert.ts";
import { createLife, type Fate } from "../../test/controller/crossing.ts";
import { startReplica } from "../../test/controller/replica.ts";
import { checkSettled, settle } from "../../test/controller/settled.ts";
import { setStage, type Stage, upheavals } from "../../test/controller/stage.ts";
import type { Caches } from "./deps.ts";

/** More calls than a leader can need for the stage: a matrix that does not come to an end is wrong. */
const callsMax = 150;
/** A leader's passes before it is done with the stage. */
const passes = 4;

const ghost = "n2 goes, others come, and its agent has not heard";

interface Play {
  what: Fate["what"];
  /** What happens in the cluster before a sleeper wakes. */
  upheaval: (stage: Stage) => Promise<string[]>;
  /** Of which of its caches a sleeper hears nothing more. */
  deaf: readonly (keyof Caches)[];
}

/** Plays the stage with a leader that is struck at that call, and another one after it. Gives the call; undefined where none was struck. */
async function play({ what, upheaval, deaf }: Play, call: number): Promise<string | undefined> {
  const world = await setStage();
  const life = createLife({ call, what });
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
    first.freeze(true, ...deaf);
    await settle(world, second);
    const unserved = await upheaval({ world, settle: () => settle(world, second) });
    if (what === "stall") {
      life.wake();
      // It goes on with what it knew; that its calls are refused is as it should be.
      await working.catch(() => {});
      await first.pass().catch(() => {});
    }
    await settle(world, second);
    await checkSettled(world, new Set(unserved));
    return life.last();
  } finally {
    await Promise.all([first.close(), second.close()]);
    await world.close();
  }
}

async function walk(one: Play): Promise<void> {
  const struck: string[] = [];
  for (let call = 1; call <= callsMax; call += 1) {
    const last = await play(one, call).catch((cause: unknown) => {
      throw new Error(`call ${call}, after ${struck.at(-1) ?? "nothing"}`, { cause });
    });
    if (last === undefined) return checkWalk(struck);
    struck.push(last);
  }
  assert.fail(`the leader makes more than ${callsMax} calls`);
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
  test(`a leader dies ${what} each of its calls is made`, () => walk({ what, upheaval: async () => [], deaf: [] }));
}

for (const [happening, upheaval] of Object.entries(upheavals)) {
  test(`a leader sleeps at each of its calls; ${happening}; it wakes and goes on with what it knew`, () =>
    walk({ what: "stall", upheaval, deaf: ["nodes", "networks", "endpoints", "ledgers"] }));
}

test("a leader sleeps at each of its calls; n2 goes; it wakes, sees the NodeNetwork that n2's agent makes, and not that n2 is gone", () =>
  walk({ what: "stall", upheaval: present(upheavals[ghost], ghost), deaf: ["nodes"] }));
