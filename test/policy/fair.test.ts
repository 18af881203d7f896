// A comparison proves nothing about what its random worlds never decide: here is counted what they do decide.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { features } from "./features.ts";
import { universeOf } from "./naive-universe.ts";
import { type Answer, judgements, naiveReader, type Outcome } from "./naive.ts";
import { anyPackets, anyWorld, packetsIn } from "./random.ts";

const worlds = 600;
const packetsMax = 200;
const seed = 20261126;
/** Of all packets. */
const passingShareMin = 0.4;
const deniedShareMin = 0.2;
/** Packets that this judgement alone denies, of all. */
const deniedAloneShareMin = 0.03;
/** Packets that this judgement allows because of a rule, of all. */
const allowedShareMin = 0.01;
/** Packets that pass whatever rules say, by each reason, of all. */
const exemptShareMin = 0.002;
/** Packets whose answer another reading of one feature would change. */
const decidedMin = 8;

/** A single address is met too seldom to have a share; the feature of its name counts it. */
const ofObjects = judgements.filter((judgement) => judgement !== "egress metadata");

interface Counts {
  packets: number;
  passing: number;
  deniedAlone: Record<string, number>;
  outcomes: Record<string, number>;
  decided: Record<string, number>;
  families: Record<4 | 6, number>;
}

test("random worlds are fair: every judgement denies and allows, and every feature decides", (context) => {
  const counts = count();
  const share = (number = 0): number => number / counts.packets;
  context.diagnostic(JSON.stringify(counts));
  assert.ok(share(counts.passing) > passingShareMin, `${counts.passing} of ${counts.packets} packets pass`);
  assert.ok(1 - share(counts.passing) > deniedShareMin, `${counts.passing} of ${counts.packets} packets pass`);
  for (const judgement of ofObjects) {
    const alone = counts.deniedAlone[judgement];
    const allowed = counts.outcomes[outcomeName(judgement, "allowed")];
    assert.ok(share(alone) > deniedAloneShareMin, `${judgement} alone denies ${alone} of ${counts.packets}`);
    assert.ok(share(allowed) > allowedShareMin, `${judgement} allows ${allowed} of ${counts.packets}`);
  }
  for (const feature of Object.keys(features)) {
    const decided = counts.decided[feature] ?? 0;
    assert.ok(decided >= decidedMin, `${feature} decides ${decided} of ${counts.packets} packets`);
  }
  for (const outcome of ["itself", "own node", "neighbour discovery", "audited"] as const) {
    const times = counts.outcomes[outcomeName("egress groups", outcome)];
    assert.ok(share(times) > exemptShareMin, `${outcome} ${times} times of ${counts.packets}`);
  }
  for (const family of [4, 6] as const) assert.ok(share(counts.families[family]) > 0.3, `of IPv${family}`);
});

const outcomeName = (judgement: string, outcome: Outcome): string => `${judgement}: ${outcome}`;

function count(): Counts {
  const counts: Counts = {
    packets: 0,
    passing: 0,
    deniedAlone: {},
    outcomes: {},
    decided: {},
    families: { 4: 0, 6: 0 },
  };
  const more = (of: Record<string, number>, name: string): void => {
    of[name] = (of[name] ?? 0) + 1;
  };
  const told = (answer: Answer): void => {
    if (answer.passes) counts.passing += 1;
    const denying = judgements.filter((judgement) => answer.judgements[judgement] === "denied");
    if (denying.length === 1) more(counts.deniedAlone, denying[0] ?? "");
    for (const judgement of judgements) more(counts.outcomes, outcomeName(judgement, answer.judgements[judgement]));
  };
  for (const [world, seeds] of fc.sample(fc.tuple(anyWorld, anyPackets(packetsMax)), { numRuns: worlds, seed })) {
    const packets = packetsIn(world, seeds);
    const universe = universeOf(world, packets);
    const answers = packets.map(naiveReader(world, universe));
    answers.forEach(told);
    counts.packets += packets.length;
    for (const { source } of packets) counts.families[source.includes(":") ? 6 : 4] += 1;
    for (const [feature, without] of Object.entries(features)) {
      const reader = naiveReader(without(world), universe);
      packets.forEach((packet, index) => {
        if (reader(packet).passes !== answers[index]?.passes) more(counts.decided, feature);
      });
    }
  }
  return counts;
}
