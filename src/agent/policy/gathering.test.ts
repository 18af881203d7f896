// Gathered calls: one answer for several, and another for what comes later.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { createGathering } from "./gathering.ts";

void test("calls within the time have one answer, at its end; later ones another; none after the end", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const stop = new AbortController();
  let answers = 0;
  const gathered = createGathering(100, stop.signal, () => (answers += 1));
  const after = async (ms: number): Promise<number> => {
    mock.timers.tick(ms);
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
    return answers;
  };
  gathered();
  assert.equal(await after(60), 0);
  gathered();
  assert.equal(await after(39), 0);
  assert.equal(await after(1), 1);
  assert.equal(await after(1000), 1);
  gathered();
  assert.equal(await after(100), 2);
  gathered();
  stop.abort();
  assert.equal(await after(1000), 2);
});
