// The soak test of caches: hundreds of seeded stories of a server that goes wrong, each ending with cache and server in agreement.

import assert from "node:assert/strict";
import { test } from "node:test";
import { playSeed } from "./soak.ts";

/** More by `SOAK_SEEDS`; the first by `SOAK_FROM`, to play one story again. */
const seeds = Number(process.env["SOAK_SEEDS"] ?? "200");
const from = Number(process.env["SOAK_FROM"] ?? "1");
const atOnce = 12;

test("stories of a troubled server end with the cache as the server is", async () => {
  const whims = new Map<string, number>();
  const totals = { lists: 0, watches: 0, events: 0 };
  let next = from;
  const worker = async (): Promise<void> => {
    while (next < from + seeds) {
      const seed = next;
      next += 1;
      const told = await playSeed(seed);
      for (const [what, times] of told.whims) whims.set(what, (whims.get(what) ?? 0) + times);
      for (const key of ["lists", "watches", "events"] as const) totals[key] += told.status[key];
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  process.stdout.write(`${JSON.stringify({ ...totals, ...Object.fromEntries(whims) })}\n`);
  if (seeds < 100) return;
  // A trouble that never came proves nothing.
  for (const what of troubles) assert.ok((whims.get(what) ?? 0) > 0, `${what} has not happened in ${seeds} stories`);
  assert.ok(totals.lists > seeds && totals.watches > seeds, JSON.stringify(totals));
});

const troubles = [
  "answer 200, answer 410, answer 429, answer 500, answer 503, compacted, cut, drop after, drop before, stall before",
  "watch broken, watch expired, watch garbage, watch half a line, watch half closed, watch in order, watch silent",
].flatMap((line) => line.split(", "));
