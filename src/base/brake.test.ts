// Few removals go at once, many only when they have been wanted for a while.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createBrake } from "./brake.ts";

void test("a fifth goes at once, more has to be wanted again after a while, without a break", () => {
  let nowMs = 0;
  const brake = createBrake({ settleMs: 1000, clock: () => nowMs });
  const allow = (unwanted: string[], held: number): string[] => [...brake.allow(unwanted, held)];
  assert.deepEqual(allow(["a", "b"], 10), ["a", "b"]);
  assert.deepEqual(allow(["a", "b", "c"], 10), []);
  nowMs = 999;
  assert.deepEqual(allow(["a", "b", "c"], 10), []);
  nowMs = 1000;
  assert.deepEqual(allow(["a", "b", "c", "d"], 10), ["a", "b", "c"]);
  nowMs = 1500;
  assert.deepEqual(allow([], 10), []);
  assert.deepEqual(allow(["a", "b", "c"], 10), []);
  nowMs = 2500;
  assert.deepEqual(allow(["a", "b", "c"], 10), ["a", "b", "c"]);
});

void test("of few things, any number goes at once", () => {
  const brake = createBrake({ settleMs: 1000, manyMin: 3, clock: () => 0 });
  assert.equal(brake.allow(["a", "b"], 2).size, 2);
  assert.equal(brake.allow(["a", "b"], 3).size, 0);
});

void test("nothing there, nothing to remove", () => {
  const brake = createBrake({ settleMs: 1000, clock: () => 0 });
  assert.equal(brake.allow([], 0).size, 0);
  assert.equal(brake.allow(["a"], 1).size, 0);
});
