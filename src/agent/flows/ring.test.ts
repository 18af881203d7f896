// The ring of records and the allowance of each pod: bounds, order, and what is counted beyond them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ip } from "../../../test/kernel-stage.ts";
import type { FlowRecord } from "./record.ts";
import { answerRecordsMax, createAllowance, createRing, podBurst, podPerSecond, recordsMax } from "./ring.ts";

const record = (pod: string): Omit<FlowRecord, "number"> => ({
  atMs: 0,
  outcome: "denied",
  source: { address: ip("10.4.1.2"), pod },
  destination: { address: ip("10.4.1.3") },
  protocol: "tcp",
  objects: [],
  rules: [],
  reason: "",
});
const all = (): boolean => true;
const numbers = (records: readonly FlowRecord[]): number[] => records.map(({ number }) => number);

void test("records come in order, after a number, and nothing is there before the first", () => {
  const ring = createRing();
  assert.deepEqual([ring.newest(), ring.after(0, all)], [0, []]);
  for (let n = 0; n < 5; n += 1) ring.add(record("a"));
  assert.deepEqual(numbers(ring.after(0, all)), [1, 2, 3, 4, 5]);
  assert.deepEqual(numbers(ring.after(3, all)), [4, 5]);
  assert.deepEqual([ring.after(5, all), ring.after(99, all)], [[], []]);
  assert.equal(ring.newest(), 5);
});

void test("the newest are kept, and so many in one answer, whichever are wanted", () => {
  const ring = createRing();
  for (let n = 1; n <= recordsMax + 10; n += 1)
    ring.add(record(n === 5 || n === 20 || n === recordsMax + 4 ? "rare" : "a"));
  const every = numbers(ring.after(0, all));
  assert.deepEqual(
    [every.length, every[0], every.at(-1)],
    [answerRecordsMax, recordsMax + 11 - answerRecordsMax, recordsMax + 10],
  );
  const rare = ring.after(0, ({ source }) => source.pod === "rare");
  assert.deepEqual(numbers(rare), [20, recordsMax + 4], "the fifth is gone, and its place is another's");
});

void test("a pod tells a burst, then so many a second; the next one says how many were not told before it", () => {
  const now = { ms: 0 };
  const allowance = createAllowance(() => now.ms);
  const take = (times: number): number =>
    Array.from({ length: times }, () => allowance.take("shop/web")).filter((one) => one !== undefined).length;
  assert.equal(take(podBurst + 30), podBurst);
  assert.deepEqual(allowance.suppressed(), [{ pod: "shop/web", flows: 30 }]);
  assert.deepEqual(allowance.take("shop/db"), { suppressed: 0 }, "others are not held back");
  now.ms = 1000;
  assert.deepEqual(allowance.take("shop/web"), { suppressed: 30 });
  assert.deepEqual(allowance.take("shop/web"), { suppressed: 0 });
  assert.equal(take(100), podPerSecond - 2);
  now.ms = 1_000_000;
  assert.equal(take(podBurst + 1), podBurst, "a long silence saves up no more than a burst");
  assert.deepEqual(allowance.suppressed(), [{ pod: "shop/web", flows: 30 + 100 - (podPerSecond - 2) + 1 }]);
});

void test("those of whom most was not told are named first, and pods without end are forgotten", () => {
  const allowance = createAllowance(() => 0);
  for (let pod = 0; pod < 100; pod += 1) for (let n = 0; n < podBurst + pod; n += 1) allowance.take(`pod-${pod}`);
  const listed = allowance.suppressed();
  assert.deepEqual(
    [listed.length, listed[0], listed.at(-1)],
    [64, { pod: "pod-99", flows: 99 }, { pod: "pod-36", flows: 36 }],
  );
  for (let pod = 0; pod < 5000; pod += 1) allowance.take(`stranger-${pod}`);
  assert.deepEqual(allowance.suppressed(), []);
});
