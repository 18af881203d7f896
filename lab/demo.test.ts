// The demo's table: steps gathered under their claims, and no claim that hides a failure.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../src/base/assert.ts";
import { demoTable } from "./demo.ts";
import type { ScenarioReport, StepReport } from "./run.ts";
import { parseScenario } from "./scenario.ts";

const scenario = parseScenario(
  [
    "# Title\n",
    "cluster routes nodes=1",
    "pod a on node-1",
    "# The first",
    "check a",
    "expect every node reaches its pods",
    "# The second",
    "expect every pod has its own addresses",
  ].join("\n"),
  "x.txt",
);

/** A report of that scenario; `failing` is the index of a step that failed, and the last that was done. */
function report(failing?: number): ScenarioReport {
  const hows = ["", "", "CHECK", "5 pairs", "looked"];
  const done = hows.slice(0, failing === undefined ? hows.length : failing + 1);
  const steps = done.map((how, index): StepReport => {
    const step = present(scenario.steps[index], "step");
    const problems = index === failing ? { problems: ["bad"] } : {};
    return Object.assign({ step, ms: 1, probes: index === 3 ? 30 : 0, how }, problems);
  });
  return { scenario, steps, audit: [], ok: failing === undefined, ms: 1234, probes: 30, logs: [], left: [] };
}

void test("steps without a comment of their own belong to the claim before", () => {
  assert.deepEqual(demoTable(report()).split("\n"), [
    "claim        how it was tried   probes   holds",
    "The first    CHECK; 5 pairs     30       yes",
    "The second   looked                      yes",
    "",
    "Proved: 2 of 2 claims hold, 30 probes, 1.2 s; nothing was left behind on this computer.",
  ]);
});

void test("a failed step is a claim that does not hold, whether it proves something or prepares it", () => {
  assert.match(demoTable(report(4)), /^The second +looked +NO$/m);
  assert.match(demoTable(report(3)), /^expect every node reaches its pods +5 pairs +30 +NO$/m);
  assert.match(demoTable(report(1)), /^pod a on node-1 +NO\n\nNOT proved: 0 of 1 claims hold/m);
});

void test("what commands told stands between the table and the totals", () => {
  const plain = report();
  const steps = plain.steps.map((step, index) => (index === 2 ? { ...step, shown: "$ look\n\nall is well" } : step));
  assert.deepEqual(
    demoTable({ ...plain, steps })
      .split("\n")
      .slice(2, -1),
    ["The second   looked                      yes", "", "$ look", "", "all is well", ""],
  );
});

void test("what was left behind is told", () => {
  const text = demoTable({ ...report(), ok: false, left: ["namespace flab-x-wire"] });
  assert.match(text, /^NOT proved: 2 of 2 claims hold, .*; left behind: namespace flab-x-wire\.$/m);
});
