// When a pass looks at all that the kernel holds: when it has nothing else to do, when somebody doubts, and at the latest after a minute.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createDue } from "./due.ts";

void test("a pass that has something to do leaves the look to one that has not, but not for ever", () => {
  let nowMs = 0;
  const due = createDue(() => nowMs);
  assert.deepEqual(due.begin(), { isDue: true, isSettled: false }, "the first");
  assert.equal(due.lookMs(), 30_000);
  nowMs = 59_999;
  due.changed("cluster");
  assert.deepEqual(due.begin(), { isDue: false, isSettled: true });
  assert.equal(due.lookMs(), 1_000, "after a second in which nothing is to be done");
  nowMs = 60_000;
  due.changed("cluster");
  assert.deepEqual(due.begin(), { isDue: true, isSettled: true });
  nowMs = 89_999;
  assert.deepEqual(due.begin(), { isDue: false, isSettled: true });
  nowMs = 90_000;
  assert.deepEqual(due.begin(), { isDue: true, isSettled: true });
});

void test("who doubts what the kernel holds has the next pass look", () => {
  const due = createDue(() => 0);
  due.begin();
  due.changed("attachments");
  due.doubt();
  assert.deepEqual(due.begin(), { isDue: true, isSettled: true });
});

void test("after a pass that failed nobody knows what the kernel was to hold", () => {
  const due = createDue(() => 0);
  due.begin();
  due.everything();
  assert.deepEqual(due.begin(), { isDue: true, isSettled: false });
  due.doubt();
  assert.deepEqual(due.begin(), { isDue: true, isSettled: true });
});
