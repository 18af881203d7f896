// One call after the other of a phase is the one at which an agent ends, or hears of an error; all must be well again after each.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import type { TestContext } from "node:test";
import { within } from "../../src/base/pause.ts";
import { coolDefaultMs } from "../../src/ipam/pool.ts";
import { until } from "../until.ts";
import type { Fate } from "./death.ts";
import type { Phase } from "./phases.ts";
import type { Heard } from "./runtime.ts";
import type { Stage } from "./stage.ts";

/** More rounds than any phase has calls, with those that are played again: a walk that is not at its end there has lost its way. */
const roundsMax = 300;

/** Longest from the call that is the last one to the end of its agent. */
const deathWaitMs = 10_000;

/** Error code of "try again later": what a call that lost its agent is told. */
const tryAgain = 11;

/** The agent dies at each call of the phase; the next one starts on what it has left. */
export async function walkDeaths(t: TestContext, stage: Stage, phase: Phase, when: Fate["when"]): Promise<void> {
  await walk(
    t,
    stage,
    phase,
    () => [undefined],
    async (at) => {
      const agent = await phase.begin({ at, when, does: "ends", ...whose(phase) });
      await phase.end(agent, { judge: assertHonest, doubts: true });
      const lives = await agent.lift();
      if (lives !== undefined && lives.calls < at) {
        return { call: undefined, takenOver: lives.takenOver, calls: lives.calls };
      }
      // A call that was begun when the phase was over, by a loop's next pass, ends the agent once it is made.
      assert.ok(await within(deathWaitMs, agent.ended), `${lives?.calls} calls, and nothing happened at ${at}`);
      const { signal, error, reached } = await agent.ended;
      assert.ok(signal === "SIGKILL" && reached !== undefined, `call ${at}: the agent ended by itself: ${error}`);
      await stage.startAgent();
      return { call: `death ${when} ${reached.name}`, takenOver: reached.takenOver, calls: at };
    },
  );
}

/** Each call of the phase that can fail does so; the agent goes on. `errnosOf`: with which errors the n-th call does, one after the other. */
export async function walkFailures(
  t: TestContext,
  stage: Stage,
  phase: Phase,
  when: Fate["when"],
  errnosOf: (at: number) => readonly string[],
): Promise<void> {
  const descriptors = (): number => readdirSync(`/proc/${stage.agent().pid}/fd`).length;
  // Some are opened when they are first needed, by the reaper above all.
  await aftermath(stage, phase.containers, "before anything");
  await stage.audit("before anything, when all is done");
  const before = descriptors();
  await walk(t, stage, phase, errnosOf, async (at, errno) => {
    const agent = await phase.begin({ at, when, does: "fails", errno, ...whose(phase) });
    await phase.end(agent, { judge: (heard) => assertFitting(heard, errno), doubts: false });
    const lives = await agent.lift();
    if (lives === undefined) assert.fail(`the agent ended at call ${at}: ${JSON.stringify(await agent.ended)}`);
    const reached = lives.calls < at ? undefined : await agent.reached();
    await stage.serves();
    const call =
      reached === undefined ? undefined : `${errno} ${when === "before" ? "instead of" : "after"} ${reached.name}`;
    // The database has errors of its own, and whether an answer is sent or not is all that matters of it.
    const isOneForAll = reached !== undefined && /^(?:sql |send$)/.test(reached.name);
    // Taking over cannot fail and is not counted: only the answer, which is written then and not sent, is missing.
    const takenOver = lives.takenOver && reached === undefined;
    return { call, takenOver, calls: lives.calls, isOneForAll };
  });
  await until("every descriptor is closed", () => descriptors() <= before);
}

const whose = (phase: Phase): Pick<Fate, "whose"> => (phase.whose === undefined ? {} : { whose: phase.whose });

interface Round {
  /** What happened, at which call; undefined where the phase has no such call any more. */
  call: string | undefined;
  /** A request came in parts, as happens where its reader is faster than its writer: calls have other numbers then. */
  takenOver: boolean;
  calls: number;
  /** Another variant of it would be the same. */
  isOneForAll?: boolean;
}

/**
 * Plays rounds, for each call one of each variant and each with its aftermath, until one has no call left; `play` leaves an agent
 * that serves.
 */
async function walk<V>(
  t: TestContext,
  stage: Stage,
  phase: Phase,
  variantsOf: (at: number) => readonly V[],
  play: (at: number, variant: V) => Promise<Round>,
): Promise<void> {
  const calls: string[] = [];
  let rounds = 0;
  const playOne = async (at: number, variant: V): Promise<Round> => {
    for (;;) {
      rounds += 1;
      assert.ok(rounds <= roundsMax, `no end, or fewer calls than ${phase.callsMin}: ${calls.join(", ")}`);
      const round = await play(at, variant);
      if (round.call === undefined) assert.ok(round.calls < at, `${round.calls} calls, and nothing happened at ${at}`);
      await aftermath(stage, phase.containers, `${at}: ${round.call ?? "nothing happened"}`);
      // A round can be over before its agent is: a pass that was on its way already looked like the one that was waited for.
      const wasCutShort = round.call === undefined && at <= phase.callsMin;
      if (!round.takenOver && !wasCutShort) return round;
    }
  };
  walking: for (let at = 1; ; at += 1) {
    for (const [index, variant] of variantsOf(at).entries()) {
      const { call, isOneForAll = false } = await playOne(at, variant);
      if (call === undefined) break walking;
      if (index === 0) calls.push(call);
      if (isOneForAll) break;
    }
  }
  t.diagnostic(`${calls.length} calls in ${rounds} rounds: ${calls.join(", ")}`);
}

/** Whatever was left of the containers, the runtime's own way on works. */
async function aftermath(stage: Stage, containers: readonly string[], what: string): Promise<void> {
  await stage.audit(`${what}: an agent serves`);
  for (const id of containers) await stage.delete(id);
  for (const id of containers) await stage.add(id);
  await stage.audit(`${what}: after DEL and another ADD`);
  await stage.advance(coolDefaultMs); // what has cooled is freed with the next removal: its number would grow with the rounds
  for (const id of containers) await stage.delete(id); // what this one leaves, the next round's audits would find
}

/** A call that has lost its agent says so and promises nothing. */
function assertHonest({ code, stdout }: Heard): void {
  if (code === 0) return;
  assert.equal(code, tryAgain, stdout);
  assert.match(stdout, /agent of this node cannot be reached/);
}

/** Codes of kernel-exists, kernel-busy, store-failed and cleanup-incomplete. */
const fittingCodes: ReadonlySet<number> = new Set([tryAgain, 104, 105, 107, 112]);

/** A call that fails for an error of kernel or disk names that. */
function assertFitting({ code, stdout }: Heard, errno: string): void {
  if (code === 0) return;
  assert.ok(fittingCodes.has(code), stdout);
  // 11: the answer itself could not be sent.
  if (code !== tryAgain) assert.match(stdout, new RegExp(`${errno}|database or disk is full`));
}
