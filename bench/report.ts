// The figures of a bench: percentiles, rows, the bars that they must reach, the table for people and the file for programs.

import { assert, present } from "../src/base/assert.ts";
import { formatTable } from "../src/base/table.ts";

/** The figure that `fraction` of the values do not exceed (nearest rank). @throws Fault "bug" where there is no value. */
export function percentile(values: readonly number[], fraction: number): number {
  assert(fraction > 0 && fraction <= 1, `0 < ${fraction} <= 1`);
  const sorted = values.toSorted((a, b) => a - b);
  return present(sorted[Math.max(1, Math.ceil(fraction * sorted.length - 1e-9)) - 1], "a value");
}

/** What a row must reach, in words and as a test on what was measured, in ms. */
export interface Bar {
  text: string;
  holds(ours: number, reference: number | undefined): boolean;
}

const needed = (reference: number | undefined): number => present(reference, "the reference's figure");

/** The reference takes at least `factor` times as long. */
export const timesFaster = (factor: number): Bar => ({
  text: `>= ${factor}x faster`,
  holds: (ours, reference) => needed(reference) / ours >= factor,
});

/** Ours takes at most this long. */
export const atMostMs = (ms: number): Bar => ({ text: `<= ${ms} ms`, holds: (ours) => ours <= ms });

/** Ours takes at most this much longer than the reference. */
export const atMostMsMore = (ms: number): Bar => ({
  text: `<= ${ms} ms more`,
  holds: (ours, reference) => ours - needed(reference) <= ms,
});

export interface Row {
  name: string;
  ours_ms: number;
  reference_ms: number | null;
  /** reference / ours; how many times faster ours is. */
  ratio: number | null;
  /** How many calls of ours the figure is made of, and of the reference. */
  n: number;
  reference_n: number;
  bar: string | null;
  ok: boolean | null;
}

export interface Measured {
  name: string;
  ours: readonly number[];
  reference?: readonly number[];
  /** 0.5 for the median. */
  fraction: number;
  bar?: Bar;
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

/** The row of one figure. A bar is judged on what was measured, before rounding. */
export function makeRow({ name, ours, reference = [], fraction, bar }: Measured): Row {
  const our = percentile(ours, fraction);
  const other = reference.length === 0 ? undefined : percentile(reference, fraction);
  return {
    name,
    ours_ms: rounded(our),
    reference_ms: other === undefined ? null : rounded(other),
    ratio: other === undefined ? null : rounded(other / our),
    n: ours.length,
    reference_n: reference.length,
    bar: bar?.text ?? null,
    ok: bar?.holds(our, other) ?? null,
  };
}

/** A figure that is no time, and has nothing to be compared with. */
export interface Value {
  name: string;
  value: number;
  unit: "MB" | "KB" | "pairs/s" | "/s" | "Gbit/s" | "s" | "requests" | "of 1" | "times";
  bar: string | null;
  ok: boolean | null;
}

/** The value, and whether it stays at or below `max` where there is one. */
export function makeValue(name: string, value: number, unit: Value["unit"], max?: number): Value {
  const bar = max === undefined ? null : `<= ${rounded(max)} ${unit}`;
  return { name, value: rounded(value), unit, bar, ok: max === undefined ? null : value <= max };
}

/** A share of something, and whether it is `min` or more. */
export function makeShare(name: string, value: number, min?: number): Value {
  const bar = min === undefined ? null : `>= ${min}`;
  return { name, value: rounded(value), unit: "of 1", bar, ok: min === undefined ? null : value >= min };
}

/** How often one is contained in the other, and whether that is `max` or less. */
export function makeTimes(name: string, value: number, max?: number): Value {
  const bar = max === undefined ? null : `<= ${max} times`;
  return { name, value: rounded(value), unit: "times", bar, ok: max === undefined ? null : value <= max };
}

const figure = (ms: number | null): string => (ms === null ? "-" : ms.toFixed(ms < 1 ? 3 : 2));
const verdict = (ok: boolean | null): string => (ok === null ? "" : ok ? "holds" : "FAILS");

/** The rows as a table for people. */
export function reportTable(rows: readonly Row[]): string {
  return formatTable(
    ["what", "ours ms", "reference ms", "ratio", "n", "bar", ""],
    rows.map(({ name, ours_ms, reference_ms, ratio, n, reference_n, bar, ok }) => [
      name,
      figure(ours_ms),
      figure(reference_ms),
      ratio === null ? "-" : `${ratio.toFixed(1)}x`,
      reference_n === 0 || reference_n === n ? String(n) : `${n} / ${reference_n}`,
      bar ?? "",
      verdict(ok),
    ]),
  );
}

/** The values as a table for people. */
export function valueTable(values: readonly Value[]): string {
  return formatTable(
    ["what", "value", "unit", "bar", ""],
    values.map(({ name, value, unit, bar, ok }) => [
      name,
      value.toFixed(value < 10 ? 3 : 1),
      unit,
      bar ?? "",
      verdict(ok),
    ]),
  );
}
