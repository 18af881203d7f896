// Cases in which something is broken on purpose: all steps but the last must pass, and the last must fail with the words of what is broken.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { present } from "../src/base/assert.ts";
import { reportText } from "../lab/report.ts";
import { runScenario } from "../lab/run.ts";
import { parseScenario } from "../lab/scenario.ts";

export interface EyesCase {
  name: string;
  /** All but the last step must pass, the last must fail. */
  steps: string;
  /** What the failure says. */
  seen: RegExp;
}

/** Adds a test for each case, in a lab of its own whose name begins with `lab`; so many run at once. */
export function testEyes(cases: readonly EyesCase[], { lab, atOnce }: { lab: string; atOnce: number }): void {
  void describe("the lab sees", { concurrency: atOnce }, () => {
    for (const [index, { name, steps, seen }] of cases.entries()) {
      void test(name, async () => {
        const scenario = parseScenario(steps, "case");
        const report = await runScenario(scenario, {
          lab: `${lab}${process.pid}x${index}`,
          signal: new AbortController().signal,
        });
        assert.equal(report.steps.length, scenario.steps.length, reportText(report));
        const last = present(report.steps.at(-1), "last step");
        assert.match(present(last.problems, "problems of the last step").join("\n"), seen);
        assert.ok(
          report.steps.slice(0, -1).every(({ problems }) => problems === undefined),
          reportText(report),
        );
        assert.deepEqual([report.ok, report.left], [false, []]);
      });
    }
  });
}
