// Marks of groups: equal for equal states, different in the cell of what differs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { agreeOn, groupsMark, markLen } from "./mark.ts";

const group = (name: string, generation = 1, uid = `uid of ${name}`) => ({ metadata: { name, uid, generation } });
const names = Array.from({ length: 200 }, (_, index) => `group-${index}`);
const all = names.map((name) => group(name));
const agreeing = (one: string, other: string): string[] => names.filter((name) => agreeOn(name, one, other));

void test("the order is nothing, and the length is always the same", () => {
  assert.equal(groupsMark(all.toReversed()), groupsMark(all));
  assert.deepEqual([groupsMark([]).length, groupsMark(all).length], [markLen, markLen]);
  assert.deepEqual(agreeing(groupsMark(all), groupsMark(all)), names);
});

void test("an edit, a removal or a namesake is seen for that group, and for few others", () => {
  const before = groupsMark(all);
  const [first = "", ...others] = names;
  for (const after of [
    groupsMark([group(first, 2), ...others.map((name) => group(name))]),
    groupsMark(others.map((name) => group(name))),
    groupsMark([group(first, 1, "another"), ...others.map((name) => group(name))]),
  ]) {
    assert.ok(!agreeOn(first, before, after));
    assert.ok(agreeing(before, after).length > names.length - 15, "only those of one cell are in doubt");
  }
});

void test("what is no mark agrees with nothing", () => {
  assert.ok(!agreeOn("group-1", "", ""));
  assert.ok(!agreeOn("group-1", groupsMark(all), groupsMark(all).slice(4)));
});
