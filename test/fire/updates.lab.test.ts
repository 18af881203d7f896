// Policy that changes twenty times a second under traffic of everybody to everybody: what is allowed throughout loses nothing, what is denied throughout gets nothing, the rest follows.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { until } from "../until.ts";
import { judgeHistory, titleOf, type Word } from "./history.ts";
import { makeFireLab, monotonicMs, percentile } from "./stage.ts";
import { buildTown, databases, decidedBy, noises, quietTown, type TownState } from "./town.ts";
import { startTraffic } from "./traffic.ts";

/** How long: longer where CI says so. */
const seconds = Number(process.env["FIRE_SECONDS"] ?? "12");
const everyMs = 50;
/** A flow changes so seldom that between two changes there is time in which it is sure what it must do. */
const decidesEvery = 20;
/** The stated delay: from when a change is written until every packet goes by it. 100 ms on a node and 500 ms for members are usual; here everything shares two processors. */
const delayMs = 2_000;

/** A connection that is allowed all the time: its two programs may wait for a processor. */
const silentMsMax = 3_000;

type Deciding = (typeof decidedBy)[keyof typeof decidedBy];
const deciding: readonly Deciding[] = Object.values(decidedBy);

/** The state after one more change: each 20th decides about a pod, the others about nobody. */
function changed(state: TownState, n: number): TownState {
  if (n % decidesEvery === 0) {
    const key = present(deciding[(n / decidesEvery) % deciding.length], "what decides");
    return { ...state, [key]: !state[key] };
  }
  const noise = present(noises[n % noises.length], "noise");
  return { ...state, noise: { ...state.noise, [noise]: n } };
}

test("changes at 20 a second: allowed flows lose nothing, denied ones get nothing, the others follow", async (t) => {
  const lab = await makeFireLab(t, { nodes: 2 });
  const town = await buildTown(lab);
  await town.untilJudged();
  const streams = databases.map((db) => ({ from: town.pod("always"), to: town.pod(db) }));
  let state = quietTown;
  const words: Word[] = [{ fromMs: 0, doneMs: monotonicMs(), passes: town.judgeOf(state) }];
  const traffic = await startTraffic(t, town.pods, streams);
  const startedMs = monotonicMs();
  let changes = 0;
  // So long that everything has decided both ways, however slow the computer.
  const changesMin = 2 * decidesEvery * deciding.length;
  while (monotonicMs() - startedMs < seconds * 1000 || changes < changesMin) {
    const dueMs = startedMs + changes * everyMs;
    await until("the next change is due", () => monotonicMs() >= dueMs);
    state = changed(state, (changes += 1));
    const fromMs = monotonicMs();
    await town.become(state);
    words.push({ fromMs, doneMs: monotonicMs(), passes: town.judgeOf(state) });
  }
  const tookMs = monotonicMs() - startedMs;
  const seen = await traffic.end();
  const { lost, passed, sure, followedMs } = judgeHistory(words, seen, delayMs);
  const told = [0.5, 0.99, 1].map((share) => percentile(followedMs, share).toFixed(0));
  t.diagnostic(
    `${changes} changes in ${tookMs.toFixed(0)} ms (${((1000 * changes) / tookMs).toFixed(1)}/s), ${seen.times.length} rounds; ${followedMs.length} changes of verdict followed after ms: p50 ${told[0]}, p99 ${told[1]}, max ${told[2]}`,
  );
  assert.deepEqual(lost, [], "packets that were allowed all the time, and lost");
  assert.deepEqual(passed, [], "packets that were denied all the time, and passed");
  for (const [name, { ended, echoes, silentMs }] of Object.entries(seen.streams)) {
    assert.equal(ended, null, `${name} ended after ${echoes} echoes`);
    assert.ok(silentMs < silentMsMax, `${name} was silent for ${silentMs.toFixed(0)} ms`);
  }
  // That nothing was wrong means something only where much could have been.
  for (const db of databases) {
    for (const family of [4, 6] as const) {
      const of = (from: string): { pass: number; deny: number } =>
        present(sure.get(titleOf({ from, to: db, family })), from);
      assert.deepEqual([of("always").deny, of("never").pass], [0, 0]);
      assert.ok(of("always").pass > seconds && of("never").deny > seconds, "flows that no change is about");
      for (const from of Object.keys(decidedBy)) {
        const { pass, deny } = of(from);
        assert.ok(pass > 0 && deny > 0, `${from} > ${db}: ${pass} sure to pass, ${deny} to be denied`);
      }
    }
  }
});
