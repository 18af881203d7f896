// Every scenario of the project, each a test of its own.

import assert from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { allScenarios, readScenario } from "./commands.ts";
import { reportText } from "./report.ts";
import { runScenario } from "./run.ts";

for (const [index, file] of allScenarios().entries()) {
  void test(basename(file), async () => {
    const scenario = readScenario(file);
    const report = await runScenario(scenario, {
      lab: `sc${process.pid}x${index}`,
      signal: new AbortController().signal,
    });
    assert.ok(report.ok, reportText(report));
    assert.equal(report.steps.length, scenario.steps.length, "every step was done");
  });
}
