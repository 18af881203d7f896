// Runs the lists of changes that must turn a test red: a test that stays green with its change made would prove nothing.
//
// usage: node tools/mutants.ts [WORD]   only rows with WORD in their list, promise, file or test
// Rows of the kernel and lab tiers need root: each runs on a machine of its own, which is gone when it ends.

import { fileURLToPath } from "node:url";
import { Fault } from "../src/base/fault.ts";
import { formatTable } from "../src/base/table.ts";
import { readLists, type Row, type Tier, tierOf } from "./mutants/list.ts";
import { staleness } from "./mutants/stale.ts";
import { type Seen, tryTests } from "./mutants/trial.ts";
import { controlOf, type Mark, type Verdict, verdictOf } from "./mutants/verdict.ts";

/** What was found of a row. */
export interface Outcome extends Verdict {
  row: Row;
  ms: number;
}

export interface Options {
  top: string;
  rows: readonly Row[];
  signal: AbortSignal;
  onOutcome?: (outcome: Outcome) => void;
}

/** Rows of a tier at once. */
const atOnce: Readonly<Record<Tier, number>> = { unit: 2, native: 2, kernel: 3, lab: 2 };

/** Tries the rows, tier by tier. Gives the outcomes in the order in which they came. */
export async function tryRows({ top, rows, signal, onOutcome }: Options): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const control = createControl(top, rows, signal);
  for (const [tier, workers] of Object.entries(atOnce)) {
    const queue = rows.filter(({ test }) => tierOf(test.file) === tier).values();
    const work = async (): Promise<void> => {
      for (const row of queue) {
        if (signal.aborted) return;
        const startedMs = performance.now();
        const verdict = await tryRow(top, row, control, signal);
        if (signal.aborted) return;
        const outcome = { row, ...verdict, ms: performance.now() - startedMs };
        outcomes.push(outcome);
        onOutcome?.(outcome);
      }
    };
    await Promise.all(Array.from({ length: workers }, work));
  }
  return outcomes;
}

/** What a machine that is busy for a moment can do to a test, too: seen twice, it stands. */
const uncertain: ReadonlySet<Mark> = new Set(["control", "other"]);
const triesMax = 2;

async function tryRow(top: string, row: Row, control: Control, signal: AbortSignal): Promise<Verdict> {
  const stale = staleness(top, row);
  if (stale !== undefined) return { mark: "stale", why: stale };
  const { file: testFile, name } = row.test;
  for (let tries = 1; ; tries += 1) {
    const without = controlOf(row, await control.see(testFile));
    const verdict = without ?? verdictOf(row, await tryTests({ top, testFile, names: [name], change: row, signal }));
    if (tries === triesMax || signal.aborted || !uncertain.has(verdict.mark)) return verdict;
    if (verdict.mark === "control") control.forget(testFile);
  }
}

interface Control {
  /** What the tests of that file do without any change. */
  see(testFile: string): Promise<Seen>;
  /** Has the file's tests run again when they are asked for next. */
  forget(testFile: string): void;
}

/** Runs the tests of a file on the tree as it is, once: what fails without a change proves nothing by failing with it. */
function createControl(top: string, rows: readonly Row[], signal: AbortSignal): Control {
  const seen = new Map<string, Promise<Seen>>();
  return {
    see: (testFile) => {
      const names = [...new Set(rows.filter(({ test }) => test.file === testFile).map(({ test }) => test.name))];
      const known = seen.get(testFile) ?? tryTests({ top, testFile, names, signal });
      seen.set(testFile, known);
      return known;
    },
    forget: (testFile) => void seen.delete(testFile),
  };
}

function matches({ place, promise, file, test }: Row, word: string): boolean {
  return `${place} ${promise} ${file} ${test.file} ${test.name}`.toLowerCase().includes(word.toLowerCase());
}

function refuseWithoutRoot(rows: readonly Row[]): void {
  const needy = rows.filter(({ test }) => tierOf(test.file) !== "unit");
  if (needy.length === 0 || process.getuid?.() === 0) return;
  throw new Fault("machine-unfit", `${needy.length} rows make network namespaces and need root; run it as root`);
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1);
const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").trim().slice(0, 140);

const oneOf = (row: Row): string => row.place.replace(/^.*\//, "");

/** Every row in the order of the lists, and below it what was seen of those that are not red. */
function outcomeTables(outcomes: readonly Outcome[], rows: readonly Row[]): string {
  const ordered = outcomes.toSorted((a, b) => rows.indexOf(a.row) - rows.indexOf(b.row));
  const all = ordered.map(({ row, mark, ms }) => [mark, tierOf(row.test.file), seconds(ms), oneOf(row), row.promise]);
  const wrong = ordered.filter(({ mark }) => mark !== "red");
  const details = wrong.map(({ row, mark, why }) => [mark, oneOf(row), row.test.file, oneLine(why)]);
  return [
    formatTable(["result", "tier", "s", "row", "promise"], all),
    ...(wrong.length === 0 ? [] : [formatTable(["result", "row", "test", "what was seen"], details)]),
  ].join("\n\n");
}

async function main(word: string): Promise<void> {
  const top = fileURLToPath(new URL("../", import.meta.url));
  const rows = readLists(top).filter((row) => matches(row, word));
  if (rows.length === 0) throw new Fault("not-found", `no row has "${word}" in its list, promise, file or test`);
  refuseWithoutRoot(rows);
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  let count = 0;
  const outcomes = await tryRows({
    top,
    rows,
    signal: stop.signal,
    onOutcome: ({ row, mark, why, ms }) => {
      count += 1;
      process.stderr.write(
        `${count}/${rows.length} ${mark} ${seconds(ms)} s ${row.place} ${row.promise}: ${oneLine(why)}\n`,
      );
    },
  });
  const red = outcomes.filter(({ mark }) => mark === "red").length;
  process.stdout.write(`${outcomeTables(outcomes, rows)}\n\n${red} of ${rows.length} rows turn their test red\n`);
  if (red < rows.length) process.exitCode = 1;
}

if (import.meta.main) {
  try {
    await main(process.argv[2] ?? "");
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    process.stderr.write(`mutants: ${error.message}\n`);
    process.exitCode = 2;
  }
}
