// The judge of packets against the naive reading of the documentation, in random worlds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { clusterModel } from "../../src/policy/build-model.ts";
import { createJudge } from "../../src/policy/judge.ts";
import { compareWithNaive, type Judging } from "./compare.ts";

/** Every run of the tests tries the same worlds; others by `POLICY_SEED`, more by `POLICY_WORLDS`. */
const seed = Number(process.env["POLICY_SEED"] ?? "20261126");
const worlds = Number(process.env["POLICY_WORLDS"] ?? "1500");
const packetsMax = 200;
const packetsMin = 100_000;

const judge: Judging = ({ objects, pods, nodes, groupsJudgeOwnNode }) => {
  const judging = createJudge(clusterModel(objects, pods, nodes, { groupsJudgeOwnNode }));
  return (packet) => judging.verdict(packet).passes;
};

test("the judge passes and denies what the documentation says", (context) => {
  const asked = compareWithNaive(judge, { seed, worlds, packetsMax });
  context.diagnostic(`${asked} packets in ${worlds} worlds`);
  if (worlds >= 1500) assert.ok(asked >= packetsMin, `${asked} packets`);
});
