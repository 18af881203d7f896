// What a node tells of its policy, and at which pace.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createJudging, createPaced } from "./judging.ts";
import type { NodeFault } from "./peers.ts";

void test("the first value is told at once, the next only after a while, and then the newest", () => {
  let nowMs = 0;
  const paced = createPaced<string | undefined>(undefined, 5_000, () => nowMs);
  assert.deepEqual([paced.due(), paced.waitMs()], [undefined, undefined]);
  paced.want("a");
  assert.deepEqual([paced.waitMs(), paced.due(), paced.waitMs()], [0, "a", undefined]);
  nowMs += 1_000;
  paced.want("b");
  assert.deepEqual([paced.due(), paced.waitMs()], ["a", 4_000]);
  paced.want("c");
  nowMs += 3_999;
  assert.equal(paced.due(), "a");
  nowMs += 1;
  assert.deepEqual([paced.due(), paced.waitMs()], ["c", undefined]);
  paced.want("d");
  paced.want("c");
  assert.equal(paced.waitMs(), undefined, "what was told holds again");
});

void test("a node that something goes round tells of no groups, and of the fault once", () => {
  const asked: string[] = [];
  let faults: readonly NodeFault[] = [];
  const judging = createJudging({ now: (some) => (faults = some) }, () => asked.push("groups"));
  judging.now({ groups: { mark: "mark" }, bypass: "none" });
  assert.deepEqual([judging.groups(undefined), faults], ["mark", []]);
  judging.now({ groups: { mark: "mark" }, bypass: "none" });
  assert.deepEqual(asked, ["groups"]);
  for (let pass = 0; pass < 2; pass += 1) judging.now({ groups: { mark: "mark" }, bypass: { why: "IPVS" } });
  assert.deepEqual(faults, [{ code: "policy-bypassed", message: "IPVS" }]);
  assert.ok((judging.waitMs() ?? 0) > 0, "that it tells of no groups any more is on its way");
  judging.now({ groups: { mark: "mark" }, bypass: "none" });
  assert.deepEqual([judging.groups(undefined), faults], ["mark", []]);
});

void test("until the cluster has told everything, what was told before stays", () => {
  let asked = 0;
  let looked = 0;
  const judging = createJudging({ now: () => (looked += 1) }, () => (asked += 1));
  assert.equal(judging.groups("before"), "before");
  judging.now({ groups: "as told", bypass: "none" });
  judging.now({ groups: { mark: "mark" }, bypass: "not known" });
  assert.deepEqual(
    [judging.groups("before"), asked, looked],
    ["before", 0, 1],
    "nor until anybody has looked for bypasses",
  );
  judging.now({ groups: "in none", bypass: "none" });
  assert.deepEqual([judging.groups("before"), asked], [undefined, 1]);
  judging.now({ groups: { mark: "mark" }, bypass: "none" });
  judging.now({ groups: "as told", bypass: "none" });
  assert.equal(judging.groups("before"), "mark");
});
