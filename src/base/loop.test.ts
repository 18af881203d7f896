// The loop: one pass at a time, triggers coalesced, back-off, and a bounded end.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { type Loop, restOf, startLoop } from "./loop.ts";

const bounds = { name: "test", minMs: 10, retryMs: 100, retryMaxMs: 400, maxMs: 1000 };

/** Lets everything that is ready run, without any time passing. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

async function passes(
  work: (tick: (ms: number) => Promise<void>, stop: AbortController) => Promise<void>,
): Promise<void> {
  mock.timers.enable({ apis: ["setTimeout"] });
  const stop = new AbortController();
  try {
    await work(async (ms) => {
      mock.timers.tick(ms);
      await settle();
    }, stop);
  } finally {
    stop.abort();
    mock.timers.reset();
  }
}

test("a pass runs at once, and again when quiet for maxMs", () =>
  passes(async (tick, stop) => {
    let count = 0;
    startLoop({ ...bounds, signal: stop.signal, sync: async () => void (count += 1) });
    await settle();
    assert.equal(count, 1);
    await tick(10);
    await tick(989);
    assert.equal(count, 1);
    await tick(1);
    assert.equal(count, 2);
  }));

test("how long a quiet loop waits is asked after each pass", () =>
  passes(async (tick, stop) => {
    let count = 0;
    const quietMs = [1000, 50, 1000];
    const maxMs = (): number => quietMs.shift() ?? 1000;
    startLoop({ ...bounds, maxMs, signal: stop.signal, sync: async () => void (count += 1) });
    await settle();
    for (const [ms, passed] of [
      [10, 1],
      [990, 2],
      [10, 2],
      [40, 3],
      [10, 3],
      [989, 3],
      [1, 4],
    ] as const) {
      await tick(ms);
      assert.equal(count, passed);
    }
  }));

test("a rest is the longer, the longer the pass took, within bounds", () => {
  const rest = restOf({ times: 10, leastMs: 50, mostMs: 500 });
  assert.deepEqual([0, 20, 300].map(rest), [50, 200, 500]);
});

test("how long triggers are gathered is asked after each pass", () =>
  passes(async (tick, stop) => {
    let count = 0;
    const restMs = [30, 10];
    const minMs = (): number => restMs.shift() ?? 10;
    const loop = startLoop({ ...bounds, minMs, signal: stop.signal, sync: async () => void (count += 1) });
    await settle();
    for (const [ms, passed] of [
      [29, 1],
      [1, 2],
      [9, 2],
      [1, 3],
    ] as const) {
      loop.trigger();
      await tick(ms);
      assert.equal(count, passed);
    }
  }));

test("triggers within minMs become one pass", () =>
  passes(async (tick, stop) => {
    let count = 0;
    const loop = startLoop({ ...bounds, signal: stop.signal, sync: async () => void (count += 1) });
    await settle();
    for (let n = 0; n < 100; n += 1) loop.trigger();
    await settle();
    assert.equal(count, 1, "not before minMs");
    await tick(10);
    assert.equal(count, 2);
    await tick(500);
    assert.equal(count, 2);
    loop.trigger();
    await settle();
    assert.equal(count, 3, "a quiet loop obeys at once");
  }));

test("a trigger during a pass is kept, and passes never overlap", () =>
  passes(async (tick, stop) => {
    let running = 0;
    let most = 0;
    let count = 0;
    let finish: (() => void) | undefined;
    const sync = async (): Promise<void> => {
      running += 1;
      count += 1;
      most = Math.max(most, running);
      await new Promise<void>((done) => (finish = done));
      running -= 1;
    };
    const loop = startLoop({ ...bounds, signal: stop.signal, sync });
    await settle();
    loop.trigger();
    await tick(50);
    assert.equal(count, 1);
    finish?.();
    await settle();
    await tick(10);
    assert.equal(count, 2);
    assert.equal(most, 1);
    finish?.();
  }));

test("a failing loop waits 100, 200, 400, 400 ms and not less when triggered; success resets it", () =>
  passes(async (tick, stop) => {
    let count = 0;
    let failing = true;
    const outcomes: boolean[] = [];
    const loop = startLoop({
      ...bounds,
      signal: stop.signal,
      onPass: ({ ok }) => outcomes.push(ok),
      sync: async () => {
        count += 1;
        if (failing) throw new Error("no");
      },
    });
    await settle();
    for (const [waitMs, expected] of [
      [99, 1],
      [1, 2],
      [199, 2],
      [1, 3],
      [399, 3],
      [1, 4],
      [399, 4],
    ] as const) {
      loop.trigger();
      await tick(waitMs);
      assert.equal(count, expected);
    }
    assert.equal(loop.status().failures, 4);
    failing = false;
    await tick(1);
    assert.equal(count, 5);
    assert.equal(loop.status().failures, 0);
    assert.deepEqual(outcomes, [false, false, false, false, true]);
  }));

test("abort ends a waiting loop and lets a running pass finish", () =>
  passes(async (_tick, stop) => {
    let finish: (() => void) | undefined;
    let ended = false;
    const running: Loop = startLoop({
      ...bounds,
      signal: stop.signal,
      sync: () => new Promise((done) => (finish = done)),
    });
    const waiting = startLoop({ ...bounds, signal: stop.signal, sync: async () => {} });
    void running.done.then(() => (ended = true));
    await settle();
    stop.abort();
    await waiting.done;
    await settle();
    assert.equal(ended, false);
    finish?.();
    await running.done;
    assert.equal(running.status().passes, 1);
  }));
