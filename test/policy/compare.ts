// Holds something that judges packets against the naive reading in random worlds, and tells where they part so that a person can read it.

import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import type { Packet } from "../../src/policy/model.ts";
import { universeOf } from "./naive-universe.ts";
import { type Answer, type Judgement, judgements, naiveReader } from "./naive.ts";
import { anyPackets, anyWorld, packetsIn } from "./random.ts";
import { packetText, type World, worldText } from "./world.ts";

export interface Told {
  passes: boolean;
  /** Compared where it is told: the first judgement that denies, and those on probation that no rule allows, up to it. */
  why?: { deniedBy: Judgement | undefined; audited: readonly Judgement[] };
}

/** Made for one world: what becomes of this packet? */
export type Judging = (world: World) => (packet: Packet) => Told;

export interface Plan {
  seed: number;
  worlds: number;
  packetsMax: number;
}

/** Compares over random worlds, and gives how many packets were asked about. Throws with the smallest world found that shows a difference. */
export function compareWithNaive(judging: Judging, { seed, worlds, packetsMax }: Plan): number {
  let asked = 0;
  const result = fc.check(
    fc.property(anyWorld, anyPackets(packetsMax), (world, seeds) => {
      const packets = packetsIn(world, seeds);
      asked += packets.length;
      const found = differences(judging, world, packets);
      if (found.length > 0) throw new Error(found.slice(0, 1).join("\n"));
    }),
    { seed, numRuns: worlds },
  );
  if (!result.failed) return asked;
  const { counterexample, counterexamplePath, errorInstance, numRuns, numShrinks } = result;
  const [world] = counterexample ?? [];
  throw new Error(
    [
      `run ${numRuns} of seed ${seed} (path ${counterexamplePath}, ${numShrinks} shrinks) differs from the naive reading`,
      errorInstance instanceof Error ? errorInstance.message : String(errorInstance),
      world === undefined ? "" : worldText(world),
    ].join("\n"),
    { cause: errorInstance },
  );
}

/** A line for each packet for which the two do not agree. */
export function differences(judging: Judging, world: World, packets: readonly Packet[]): string[] {
  const naive = naiveReader(world, universeOf(world, packets));
  const judge = judging(world);
  return packets.flatMap((packet) => {
    const answer = naive(packet);
    const told = judge(packet);
    const { why = expected(answer) } = told;
    if (isDeepStrictEqual({ passes: told.passes, ...why }, { passes: answer.passes, ...expected(answer) })) return [];
    const outcomes = judgements.map((judgement) => `${judgement}: ${answer.judgements[judgement]}`).join(", ");
    const should = answer.passes ? "pass" : "be denied";
    return [`${packetText(world, packet)} should ${should} (${outcomes}), told: ${JSON.stringify(told)}`];
  });
}

/** Judgements are asked in the order of `judgements`; none after the one that denies. */
function expected(answer: Answer): NonNullable<Told["why"]> {
  const deniedBy = judgements.find((judgement) => answer.judgements[judgement] === "denied");
  const asked = deniedBy === undefined ? judgements : judgements.slice(0, judgements.indexOf(deniedBy));
  return { deniedBy, audited: asked.filter((judgement) => answer.judgements[judgement] === "audited") };
}
