// Tries lists of steps beyond those of the tests, or replays one that failed: node test/model/explore.ts [RUNS] [SEED] [PATH]

import fc from "fast-check";
import { makeFakeMachine } from "./fake-machine.ts";
import { play } from "./run.ts";
import { anyRun } from "./steps.ts";

const [runs = "10000", seed, path] = process.argv.slice(2);
await fc.assert(
  fc.asyncProperty(anyRun, (steps) => play(steps, makeFakeMachine)),
  {
    numRuns: Number(runs),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    ...(path === undefined ? {} : { path }),
  },
);
process.stdout.write(`${runs} runs hold\n`);
