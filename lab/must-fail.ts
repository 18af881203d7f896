// Runs the list of changes that must make a scenario fail: a scenario that still passes with its change would prove nothing.

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatTable } from "../src/base/table.ts";
import { readScenario } from "./commands.ts";
import { runScenario } from "./run.ts";

interface Row {
  scenario: string;
  /** The step that has to fail, as written. */
  step: string;
  file: string;
  text: string;
  becomes: string;
}

const top = fileURLToPath(new URL("../", import.meta.url));
const list = fileURLToPath(new URL("scenarios/must-fail.md", import.meta.url));

/** What an agent needs of the project: these are copied, what is large or built is only linked. */
const copied = ["bin", "src", "package.json"];
const linked = ["node_modules", "build"];

/** Reads the table; its first two lines are headings. */
function readRows(markdown: string): Row[] {
  const lines = markdown.split("\n").filter((line) => line.startsWith("| "));
  return lines.slice(1).map((line) => {
    const [scenario = "", step = "", file = "", text = "", becomes = ""] = line
      .slice(2, line.lastIndexOf(" |"))
      .split(" | ")
      .map((cell) => cell.trim());
    return { scenario, step, file, text: unquoted(text), becomes: unquoted(becomes) };
  });
}

function unquoted(cell: string): string {
  return cell.slice(1, -1);
}

/** Makes the change in a copy, runs the scenario with the copy's agents; gives what is wrong, or undefined where the right step failed. */
async function tryRow(
  { scenario, step, file, text, becomes }: Row,
  lab: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const copy = mkdtempSync(join(tmpdir(), "fairlead-must-fail-"));
  try {
    for (const name of copied) cpSync(top + name, join(copy, name), { recursive: true });
    for (const name of linked) symlinkSync(top + name, join(copy, name));
    const source = readFileSync(join(copy, file), "utf8");
    const found = source.split(text).length - 1;
    if (found !== 1) return `stale: the text is ${found} times in ${file}`;
    writeFileSync(
      join(copy, file),
      source.replace(text, () => becomes),
    );
    const program = join(copy, "bin/fairlead");
    const report = await runScenario(readScenario(`${top}lab/scenarios/${scenario}.txt`), { lab, signal, program });
    const failed = report.steps.find(({ problems }) => problems !== undefined);
    if (failed === undefined) return "the scenario passes all the same";
    if (failed.step.text !== step) return `another step fails: ${failed.step.text}: ${failed.problems?.[0] ?? ""}`;
    return undefined;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
const rows = readRows(readFileSync(list, "utf8"));
const wanted = process.argv[2];
const results: string[][] = [];
for (const [index, row] of rows.entries()) {
  if (stop.signal.aborted || (wanted !== undefined && row.scenario !== wanted)) continue;
  const wrong = await tryRow(row, `must${process.pid}x${index}`, stop.signal);
  results.push([row.scenario, `${row.file}: ${row.text}`.slice(0, 90), wrong ?? "fails as it must"]);
  if (wrong !== undefined) process.exitCode = 1;
}
process.stdout.write(`${formatTable(["scenario", "change", "result"], results)}\n`);
