// The figures: percentiles by rank, bars judged before rounding, a file whose form never changes.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { isFault } from "../src/base/fault.ts";
import {
  atMostMs,
  atMostMsMore,
  makeRow,
  makeShare,
  makeTimes,
  makeValue,
  percentile,
  reportTable,
  valueTable,
  timesFaster,
} from "./report.ts";

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => count - index);

void test("percentiles are nearest ranks", () => {
  const cases: [values: number[], fraction: number, expected: number][] = [
    [[7], 0.5, 7],
    [[7], 0.99, 7],
    [[3, 1, 2], 0.5, 2],
    [upTo(4), 0.5, 2],
    [upTo(100), 0.99, 99],
    [upTo(101), 0.99, 100],
    [upTo(200), 0.99, 198],
    [upTo(20), 0.99, 20],
    [upTo(100), 1, 100],
    [[10, 9, 100], 0.5, 10],
  ];
  for (const [values, fraction, expected] of cases) assert.equal(percentile(values, fraction), expected, values.join());
  assert.throws(
    () => percentile([], 0.5),
    (error) => isFault(error, "bug"),
  );
  assert.throws(
    () => percentile([1], 99),
    (error) => isFault(error, "bug"),
  );
});

void test("a percentile is one of the values, and the stated share does not exceed it", () => {
  const values = fc.array(fc.double({ min: 0, max: 1e4, noNaN: true }), { minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(values, fc.integer({ min: 1, max: 100 }), (list, percent) => {
      const found = percentile(list, percent / 100);
      const below = list.filter((value) => value <= found).length;
      const strictlyBelow = list.filter((value) => value < found).length;
      return (
        list.includes(found) && below * 100 >= percent * list.length && strictlyBelow * 100 < percent * list.length
      );
    }),
  );
});

void test("a bar holds at its figure and fails just beyond, whatever rounding shows", () => {
  const row = (bar: ReturnType<typeof atMostMs>, ours: number, reference: number): boolean | null =>
    makeRow({ name: "x", ours: [ours], reference: [reference], fraction: 0.5, bar }).ok;
  assert.equal(row(timesFaster(4), 2, 8), true);
  assert.equal(row(timesFaster(4), 2, 7.9999), false);
  assert.equal(row(atMostMs(10), 10, 1), true);
  assert.equal(row(atMostMs(10), 10.0001, 1), false);
  assert.equal(row(atMostMsMore(1), 1.5, 0.5), true);
  assert.equal(row(atMostMsMore(1), 1.5001, 0.5), false);
  assert.equal(row(atMostMsMore(1), 0.4, 0.5), true);
  assert.throws(
    () => makeRow({ name: "x", ours: [1], fraction: 0.5, bar: timesFaster(4) }),
    (error) => isFault(error, "bug"),
  );
});

void test("a row tells both figures, their ratio and how many calls stand behind them", () => {
  const row = makeRow({ name: "ADD", ours: [2, 2.00049, 9], reference: [20, 20], fraction: 0.5, bar: timesFaster(4) });
  assert.deepEqual(row, {
    name: "ADD",
    ours_ms: 2,
    reference_ms: 20,
    ratio: 9.998,
    n: 3,
    reference_n: 2,
    bar: ">= 4x faster",
    ok: true,
  });
  const alone = makeRow({ name: "first", ours: [5], fraction: 1 });
  assert.deepEqual([alone.reference_ms, alone.ratio, alone.bar, alone.ok], [null, null, null, null]);
  const table = reportTable([row, alone]);
  assert.match(table, /^ADD +2\.00 +20\.00 +10\.0x +3 \/ 2 +>= 4x faster +holds$/m);
  assert.match(table, /^first +5\.00 +- +- +1$/m);
  const failing = makeRow({ name: "DEL", ours: [5], reference: [5], fraction: 0.5, bar: timesFaster(10) });
  assert.match(reportTable([failing]), /FAILS$/);
});

void test("a value is held against the most that it may be", () => {
  const values = [
    makeValue("memory", 100.04, "MB", 100),
    makeValue("memory after", 100, "MB", 100),
    makeValue("speed", 7, "pairs/s"),
  ];
  assert.deepEqual(
    values.map(({ value, bar, ok }) => [value, bar, ok]),
    [
      [100.04, "<= 100 MB", false],
      [100, "<= 100 MB", true],
      [7, null, null],
    ],
  );
  assert.match(valueTable(values), /^memory +100\.0 +MB +<= 100 MB +FAILS$/m);
});

void test("a share is held against the least that it may be, and how often one is contained in another against the most", () => {
  const verdicts = [
    makeShare("a", 0.9, 0.9),
    makeShare("b", 0.8999, 0.9),
    makeShare("c", 0.1),
    makeTimes("d", 1.5, 1.5),
  ];
  assert.deepEqual(
    [...verdicts, makeTimes("e", 1.5001, 1.5), makeTimes("f", 9)].map(({ unit, bar, ok }) => [unit, bar, ok]),
    [
      ["of 1", ">= 0.9", true],
      ["of 1", ">= 0.9", false],
      ["of 1", null, null],
      ["times", "<= 1.5 times", true],
      ["times", "<= 1.5 times", false],
      ["times", null, null],
    ],
  );
  assert.match(valueTable(verdicts), /^a +0\.900 +of 1 +>= 0\.9 +holds$/m);
});
