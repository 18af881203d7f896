// Waiting by condition, and for many things.

import assert from "node:assert/strict";
import { test } from "node:test";
import { all, allOf, until } from "./waiting.ts";

void test("waiting ends as soon as nothing is wrong", async () => {
  let asked = 0;
  await until(async () => ((asked += 1) < 3 ? "not yet" : undefined), { what: "third", withinMs: 10_000, everyMs: 1 });
  assert.equal(asked, 3);
});

void test("waiting ends with the last answer when the time is up", async () => {
  await assert.rejects(
    until(async () => "still wrong", { what: "it", withinMs: 30, everyMs: 10 }),
    {
      code: "lab-failed",
      message: "it: not within 0.03 s: still wrong",
    },
  );
});

void test("waiting ends when it is interrupted, and when asking itself fails", async () => {
  const stop = new AbortController();
  const waiting = until(async () => (stop.abort(), "wrong"), { what: "it", withinMs: 60_000, signal: stop.signal });
  await assert.rejects(waiting, /it: interrupted/);
  await assert.rejects(
    until(() => Promise.reject(new Error("cannot look")), { what: "it", withinMs: 60_000 }),
    /cannot look/,
  );
});

void test("where asking may fail, a failure is one more answer that is wrong", async () => {
  let asked = 0;
  const ask = async (): Promise<string | undefined> => {
    if ((asked += 1) < 3) throw new Error("cannot look");
    return undefined;
  };
  await until(ask, { what: "it", withinMs: 10_000, everyMs: 1, mayFail: true });
  assert.equal(asked, 3);
  const never = () => Promise.reject(new Error("cannot look"));
  await assert.rejects(until(never, { what: "it", withinMs: 30, everyMs: 10, mayFail: true }), {
    code: "lab-failed",
    message: "it: not within 0.03 s: Error: cannot look",
  });
});

void test("all: the first failure is thrown only after everything has settled", async () => {
  let settled = false;
  const slow = new Promise<number>((resolve) => {
    setImmediate(() => {
      settled = true;
      resolve(1);
    });
  });
  await assert.rejects(all([slow, Promise.reject(new Error("first")), Promise.reject(new Error("second"))]), /first/);
  assert.ok(settled);
  assert.deepEqual(await all([slow, Promise.resolve("two")]), [1, "two"]);
});

void test("all of a list: in its order, so many at the same time, and everything ends before a failure is thrown", async () => {
  let [now, most] = [0, 0];
  const work = async (item: number): Promise<number> => {
    most = Math.max(most, (now += 1));
    for (let turn = 0; turn < item; turn += 1) await new Promise(setImmediate);
    now -= 1;
    if (item === 9) throw new Error("nine");
    return item * 2;
  };
  assert.deepEqual(await allOf([5, 1, 3, 0, 2], 2, work), [10, 2, 6, 0, 4]);
  assert.equal(most, 2);
  assert.deepEqual(await allOf([], 2, work), []);
  await assert.rejects(allOf([9, 20, 1], 2, work), /nine/);
  assert.equal(now, 0);
});
