// 1,000 random runs of calls, deaths, restarts and reboots over 50 pods, on the kernel in memory, against the small model.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { makeFakeMachine } from "./fake-machine.ts";
import { type Machine, play } from "./run.ts";
import { anyRun, type Step } from "./steps.ts";

const runs = 1000;
/** Every run of the tests tries the same lists; test/model/explore.ts tries others, and replays one. */
const seed = 20261126;

test(
  "whatever is called, dies and starts again: no address twice, nothing lost, nothing left",
  { timeout: 600_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(anyRun, (steps) => play(steps, makeFakeMachine)),
      { numRuns: runs, seed, endOnFailure: false },
    );
  },
);

test("the model notices what is wrong", async () => {
  const steps: Step[] = [{ do: "calls", calls: [{ verb: "ADD", pod: 1 }] }];
  const forgetful = (): Machine => {
    const machine = makeFakeMachine();
    return { ...machine, kernel: { ...machine.kernel, guard: { ...machine.kernel.guard, admit: async () => {} } } };
  };
  await assert.rejects(play(steps, forgetful), /guard: 10\.4\.0\.2 is missing/);
});
