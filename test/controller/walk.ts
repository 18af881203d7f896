// A leader that is struck at each of its calls in turn, and another one after it: what must hold in the end holds whichever call it was.

import assert from "node:assert/strict";
import { isFault } from "../../src/base/fault.ts";
import type { Caches } from "../../src/controller/deps.ts";
import { createLife, type Fate } from "./crossing.ts";
import { startReplica } from "./replica.ts";
import { settle } from "./settled.ts";
import type { Stage } from "./stage.ts";
import type { World } from "./world.ts";

/** More calls than a leader can need for a stage: a matrix that does not come to an end is wrong. */
const callsMax = 150;
/** A leader's passes before it is done with the stage. */
const passes = 4;

/** Where a walk takes place. */
export interface Ground {
  setStage: () => Promise<World>;
  /** What must hold when nobody has anything left to do. `unserved` is what the upheaval gave. */
  check: (world: World, unserved: ReadonlySet<string>) => Promise<void>;
  /** Which calls are struck; all, if absent. */
  of?: RegExp;
  /** Calls that a leader cannot do without: a walk that misses one of them proves nothing. */
  parts: readonly RegExp[];
}

export interface Play {
  what: Fate["what"];
  /** What happens in the cluster before a sleeper wakes. */
  upheaval: (stage: Stage) => Promise<string[]>;
  /** Of which of its caches a sleeper hears nothing more; of all where none is named. */
  deaf: readonly (keyof Caches)[];
  /** What must hold when the sleeper has done all that it can, before anybody puts it right. */
  awake?: (world: World) => Promise<void>;
}

/** Plays the stage with a leader that is struck at that call, and another one after it. Gives the call; undefined where none was struck. */
async function play(ground: Ground, { what, upheaval, deaf, awake }: Play, call: number): Promise<string | undefined> {
  const world = await ground.setStage();
  const life = createLife({ call, what, ...(ground.of === undefined ? {} : { of: ground.of }) });
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
      await working.catch(unlessRefused);
      await first.pass().catch(unlessRefused);
      await awake?.(world);
    }
    await settle(world, second);
    await ground.check(world, new Set(unserved));
    return life.last();
  } finally {
    await Promise.all([first.close(), second.close()]);
    await world.close();
  }
}

/** Lets what a server or a lost term refuses pass; anything else is a bug of the leader. */
function unlessRefused(error: unknown): void {
  if (!isFault(error)) throw error;
}

/** Strikes each call of a leader in turn. @throws AssertionError where something is not as it must be, and names the call */
export async function walk(ground: Ground, one: Play): Promise<void> {
  const struck: string[] = [];
  for (let call = 1; call <= callsMax; call += 1) {
    const last = await play(ground, one, call).catch((cause: unknown) => {
      throw new Error(`call ${call}, after ${struck.at(-1) ?? "nothing"}`, { cause });
    });
    if (last === undefined) {
      for (const part of ground.parts)
        assert.ok(
          struck.some((each) => part.test(each)),
          `a call ${part.source} was struck`,
        );
      return;
    }
    struck.push(last);
  }
  assert.fail(`the leader makes more than ${callsMax} calls`);
}
