// The results file: what each part of the bench gave when it was measured last, and on which machine that was.

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { fileErrorCode, readJson } from "../lab/json.ts";
import type { Figures } from "./figures.ts";

/** Facts of the machine, and how busy it was. */
export type Machine = Readonly<Record<string, string | number>>;

/** By part. */
export type Results = Readonly<Record<string, Figures & { machine: Machine }>>;

const isPart = (value: unknown): boolean =>
  typeof value === "object" && value !== null && ["machine", "rows", "values"].every((key) => key in value);
const fileSchema = z.object({ parts: z.record(z.string(), z.custom<Results[string]>(isPart, "no figures of a part")) });

/** The results with those of one part in place of its old ones; parts in the order of `order`. */
export function withPart(
  results: Results,
  part: string,
  machine: Machine,
  figures: Figures,
  order: readonly string[],
): Results {
  const all = { ...results, [part]: { machine, rows: byName(figures.rows), values: byName(figures.values) } };
  const place = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length);
  return Object.fromEntries(Object.entries(all).toSorted(([a], [b]) => place(a) - place(b)));
}

const byName = <T extends { name: string }>(list: readonly T[]): T[] =>
  list.toSorted((a, b) => (a.name < b.name ? -1 : 1));

/** What a file holds; nothing where there is none. @throws Fault "lab-failed" for one that is no results file */
export function readResults(file: string): Results {
  try {
    return readJson(fileSchema, readFileSync(file, "utf8"), `results file ${file}`).parts;
  } catch (error) {
    if (fileErrorCode(error) === "ENOENT") return {};
    throw error;
  }
}

/** Replaces the file as a whole. Two runs differ in figures only: keys are always in one order, and a line break ends it. */
export function writeResults(file: string, results: Results): void {
  writeFileSync(`${file}.new`, `${JSON.stringify({ parts: results }, null, 2)}\n`);
  renameSync(`${file}.new`, file);
}
