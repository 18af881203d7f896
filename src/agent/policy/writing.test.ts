// What decides is written as soon as it was heard; members wait for the rest that writing them earns.

import assert from "node:assert/strict";
import { test } from "node:test";
import { objectsOf } from "../../../test/policy-world.ts";
import type { KeptPolicy } from "./kept.ts";
import { createWriting, decidingRestMs, type Writing } from "./writing.ts";

const kept: KeptPolicy = {
  objects: objectsOf(""),
  memberships: new Map(),
  pods: new Map(),
  classes: { next: 101, numbers: {} },
  nodeBreakGlass: undefined,
};

interface Stage {
  writing: Writing;
  at: { nowMs: number; decides: unknown; isKnown: boolean; writes: number; fails: boolean };
}

/** Each write takes 20 ms: members rest for 2 s then. */
function staged(): Stage {
  const at: Stage["at"] = { nowMs: 1_000, decides: {}, isKnown: true, writes: 0, fails: false };
  const writing = createWriting({
    keepable: () => (at.isKnown ? kept : undefined),
    deciding: () => [at.decides],
    write: async () => {
      at.nowMs += 20;
      if (at.fails) throw new Error("no room");
      at.writes += 1;
    },
    clock: () => at.nowMs,
  });
  return { writing, at };
}

void test("a member that comes waits until the rest is over, and is written then without being asked for", async () => {
  const { writing, at } = staged();
  await writing.sync();
  assert.deepEqual([at.writes, writing.dueMs()], [1, 60_000]);
  at.nowMs += 500;
  await writing.sync();
  assert.deepEqual([at.writes, writing.dueMs()], [1, 1_500]);
  at.nowMs += 1_500;
  await writing.sync();
  assert.deepEqual([at.writes, writing.dueMs()], [2, 60_000]);
});

void test("what decides is written in the middle of that rest, and members rest anew", async () => {
  const { writing, at } = staged();
  await writing.sync();
  at.nowMs += 100;
  at.decides = {};
  await writing.sync();
  assert.equal(at.writes, 2);
  await writing.sync();
  assert.deepEqual([at.writes, writing.dueMs()], [2, 2_000]);
});

void test("what could not be written is not taken for written", async () => {
  const { writing, at } = staged();
  await writing.sync();
  at.decides = {};
  at.fails = true;
  await assert.rejects(writing.sync(), /no room/);
  at.fails = false;
  await writing.sync();
  assert.equal(at.writes, 2);
});

void test("nothing is written while the cluster has not told everything; in the end everything is", async () => {
  const { writing, at } = staged();
  at.isKnown = false;
  await writing.sync();
  await writing.all();
  assert.equal(at.writes, 0);
  at.isKnown = true;
  await writing.sync();
  await writing.all();
  assert.equal(at.writes, 2, "though the rest is not over");
});

void test("what decides waits a second at most, whatever the size of the file", () => {
  assert.deepEqual([decidingRestMs(1), decidingRestMs(20), decidingRestMs(5_000)], [50, 200, 1_000]);
});
