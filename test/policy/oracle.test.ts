// The judge of packets against the naive reading of the documentation, in random worlds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { clusterModel } from "../../src/policy/build-model.ts";
import { createJudge, type Judgement as Judged } from "../../src/policy/judge.ts";
import { compareWithNaive, type Judging } from "./compare.ts";
import type { Judgement } from "./naive.ts";

/** Every run of the tests tries the same worlds; others by `POLICY_SEED`, more by `POLICY_WORLDS`. */
const seed = Number(process.env["POLICY_SEED"] ?? "20261126");
const worlds = Number(process.env["POLICY_WORLDS"] ?? "2500");
const packetsMax = 200;
const packetsMin = 200_000;

const judge: Judging = ({ objects, pods, nodes, groupsJudgeOwnNode }) => {
  const judging = createJudge(clusterModel(objects, pods, nodes, { groupsJudgeOwnNode }));
  return (packet) => {
    const { passes, deniedBy, audited } = judging.verdict(packet);
    return { passes, why: { deniedBy: deniedBy && nameOf(deniedBy), audited: audited.map(nameOf) } };
  };
};

const nameOf = ({ direction, kind }: Pick<Judged, "direction" | "kind">): Judgement => `${direction} ${kind}`;

test("the judge passes and denies what the documentation says", (context) => {
  const asked = compareWithNaive(judge, { seed, worlds, packetsMax });
  context.diagnostic(`${asked} packets in ${worlds} worlds`);
  if (worlds >= 2500) assert.ok(asked >= packetsMin, `${asked} packets`);
});
