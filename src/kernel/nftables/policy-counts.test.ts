// The sums of counters that come and go.

import assert from "node:assert/strict";
import { test } from "node:test";
import { otherCounters } from "../../policy/counters.ts";
import { createCounts, goneCountersMax } from "./policy-counts.ts";

void test("what was counted is told once; a counter that goes keeps its sum until then", () => {
  let kernel: Record<string, number> = { a: 3, b: 1 };
  const counts = createCounts();
  const taken = (): Record<string, number> => {
    counts.say(new Map(Object.entries(kernel)));
    return Object.fromEntries(counts.taken());
  };
  assert.deepEqual(taken(), { a: 3, b: 1 });
  kernel = { a: 5, b: 1 };
  counts.say(new Map(Object.entries(kernel)));
  counts.dropped(["a"]);
  kernel = { a: 9, b: 2 };
  assert.deepEqual(taken(), { a: 11, b: 1 }, "another of that name, though it says more");
});

void test("a counter that says less has begun anew: somebody made the table again", () => {
  let kernel: Record<string, number> = { a: 30 };
  const counts = createCounts();
  counts.say(new Map(Object.entries(kernel)));
  kernel = { a: 4 };
  counts.say(new Map(Object.entries(kernel)));
  assert.deepEqual(Object.fromEntries(counts.taken()), { a: 34 });
  kernel = {};
  counts.say(new Map(Object.entries(kernel)));
  kernel = { a: 5 };
  counts.say(new Map(Object.entries(kernel)));
  assert.deepEqual(Object.fromEntries(counts.taken()), { a: 5 });
});

void test("names that nobody asks for do not pile up; what they count is not lost", () => {
  const counts = createCounts();
  for (let number = 0; number < goneCountersMax + 100; number += 1) {
    counts.say(new Map([[`edit ${number}`, 2]]));
    counts.dropped("all");
  }
  const taken = counts.taken();
  assert.ok(taken.size <= goneCountersMax + 2);
  assert.equal(
    [...taken.values()].reduce((sum, packets) => sum + packets, 0),
    2 * (goneCountersMax + 100),
  );
  assert.ok((taken.get(otherCounters) ?? 0) > 0);
});
