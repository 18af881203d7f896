// The judge of packets against the naive reading of the documentation, in random worlds.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { clusterModel } from "../../src/policy/build-model.ts";
import { createJudge, type Judge, type Judgement as Judged, narrowed } from "../../src/policy/judge.ts";
import { compareWithNaive, type Judging } from "./compare.ts";
import { features } from "./features.ts";
import { universeOf } from "./naive-universe.ts";
import { type Judgement, naiveReader } from "./naive.ts";
import { anyPackets, anyWorld, packetsIn } from "./random.ts";
import type { World } from "./world.ts";

/** Every run of the tests tries the same worlds; others by `POLICY_SEED`, more by `POLICY_WORLDS`. */
const seed = Number(process.env["POLICY_SEED"] ?? "20261126");
const worlds = Number(process.env["POLICY_WORLDS"] ?? "1600");
const packetsMax = 200;
const packetsMin = 100_000;

const judgeOf = ({ objects, pods, nodes, ...keys }: World): Judge =>
  createJudge(clusterModel(objects, pods, nodes, keys));

const judging: Judging = (world) => {
  const judge = judgeOf(world);
  return (packet) => {
    const { passes, deniedBy, audited } = judge.verdict(packet);
    return { passes, why: { deniedBy: deniedBy && nameOf(deniedBy), audited: audited.map(nameOf) } };
  };
};

/** What people are told of a packet, as a verdict. */
const explaining: Judging = (world) => {
  const judge = judgeOf(world);
  return (packet) => {
    const told = judge.explain(packet).judgements;
    const denial = told.findIndex(({ outcome }) => outcome === "denied");
    const asked = denial < 0 ? told : told.slice(0, denial);
    const deniedBy = told[denial];
    const audited = asked.filter(({ outcome }) => outcome === "audited").map(nameOf);
    return { passes: deniedBy === undefined, why: { deniedBy: deniedBy && nameOf(deniedBy), audited } };
  };
};

const nameOf = ({ direction, kind }: Pick<Judged, "direction" | "kind">): Judgement =>
  kind === "metadata" ? "egress metadata" : `${direction} ${kind}`;

test("the judge passes and denies what the documentation says", (context) => {
  const asked = compareWithNaive(judging, { seed, worlds, packetsMax });
  context.diagnostic(`${asked} packets in ${worlds} worlds`);
  if (worlds >= 1600) assert.ok(asked >= packetsMin, `${asked} packets`);
});

test("what people are told of a packet is what the documentation says", () => {
  compareWithNaive(explaining, { seed: seed + 1, worlds: Math.ceil(worlds / 5), packetsMax });
});

/** Flows that the changes of all worlds must have closed. */
const cutMin = 100;

test("of the flows before a change those are cut that no longer pass by the documentation", () => {
  let cut = 0;
  const property = fc.property(
    anyWorld,
    anyPackets(packetsMax),
    fc.constantFrom(...Object.keys(features)),
    (...made) => {
      const [before, seeds, feature] = made;
      const after = features[feature]?.(before) ?? before;
      const flows = packetsIn(before, seeds);
      const universe = universeOf(before, flows);
      const [passedBefore, passAfter] = [naiveReader(before, universe), naiveReader(after, universe)];
      const due = flows.filter((flow) => passedBefore(flow).passes && !passAfter(flow).passes);
      assert.deepEqual(narrowed(judgeOf(before), judgeOf(after), flows), due, feature);
      cut += due.length;
    },
  );
  fc.assert(property, { seed: seed + 2, numRuns: Math.ceil(worlds / 3) });
  if (worlds >= 1600) assert.ok(cut >= cutMin, `${cut} flows`);
});
