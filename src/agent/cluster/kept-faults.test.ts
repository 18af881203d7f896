// What a node tells of its faults over a restart of its agent.

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../base/log.ts";
import { createKeptFaults } from "./kept-faults.ts";

const fault = (code: string, message = code): { code: string; message: string } => ({ code, message });

void test("what was told before stays until it is said anew, and only what this one may say", () => {
  let changes = 0;
  const kept = createKeptFaults(silentLog(), ["a", "b"], () => (changes += 1));
  const before = [fault("a"), fault("c"), fault("b")];
  assert.deepEqual([kept.told(before), kept.held()], [[fault("a"), fault("b")], []]);
  kept.now([]);
  assert.deepEqual([kept.told(before), changes], [[], 1], "that there are none is news");
  kept.now([]);
  assert.equal(changes, 1);
  kept.now([fault("b", "x")]);
  kept.now([fault("b", "x")]);
  assert.deepEqual([kept.told(before), kept.held(), changes], [[fault("b", "x")], [fault("b", "x")], 2]);
});
