// Runs the list of changes that must make a conformance test fail: a test that still passes with its change would prove nothing.

import { execFile, execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatTable } from "../../src/base/table.ts";

interface Row {
  number: string;
  file: string;
  text: string;
  becomes: string;
}

const top = fileURLToPath(new URL("../../", import.meta.url));
const list = fileURLToPath(new URL("must-fail.md", import.meta.url));
/** What a test needs of the project; the modules are only linked. */
const copied = ["bin", "src", "lab", "native", "build", "test", "package.json"];
/** Longest that one test file may take. */
const testMsMax = 120_000;

/** Reads the table; its first two lines are headings. */
function readRows(markdown: string): Row[] {
  const lines = markdown.split("\n").filter((line) => line.startsWith("| "));
  return lines.slice(1).map((line) => {
    const [number = "", file = "", text = "", becomes = ""] = line
      .slice(2, line.lastIndexOf(" |"))
      .split(" | ")
      .map((cell) => cell.trim());
    return { number, file, text: text.slice(1, -1), becomes: becomes.slice(1, -1) };
  });
}

/** The file that holds the test of a number. */
function testFile(number: string): string | undefined {
  const directory = join(top, "test/conformance");
  return readdirSync(directory)
    .filter((file) => file.endsWith(".kernel.test.ts"))
    .find((file) => readFileSync(join(directory, file), "utf8").includes(`"${number} `));
}

/** Makes the change in a copy and runs the test there; gives what is wrong, or undefined where the test failed as it must. */
async function tryRow({ number, file, text, becomes }: Row): Promise<string | undefined> {
  const tests = testFile(number);
  if (tests === undefined) return "stale: there is no such test";
  const copy = mkdtempSync(join(tmpdir(), "fairlead-must-fail-"));
  try {
    for (const name of copied) cpSync(join(top, name), join(copy, name), { recursive: true });
    symlinkSync(join(top, "node_modules"), join(copy, "node_modules"));
    const source = readFileSync(join(copy, file), "utf8");
    const found = source.split(text).length - 1;
    if (found !== 1) return `stale: the text is ${found} times in ${file}`;
    writeFileSync(
      join(copy, file),
      source.replace(text, () => becomes),
    );
    if (file.startsWith("native/")) execFileSync("make", ["-s", "-C", join(copy, "native")]);
    const said = await runTest(copy, number, join("test/conformance", tests));
    if (said.includes(`✖ ${number} `)) return undefined;
    return said.includes(`✔ ${number} `) ? "the test passes all the same" : "the test did not run to its end";
  } catch (error) {
    return `cannot be tried: ${error instanceof Error ? error.message.slice(0, 200) : String(error)}`;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

function runTest(copy: string, number: string, file: string): Promise<string> {
  const args = ["--test", "--test-force-exit", "--test-reporter=spec", `--test-name-pattern=^${number} `, file];
  return new Promise((done) => {
    execFile(process.execPath, args, { cwd: copy, timeout: testMsMax }, (_, stdout) => done(stdout));
  });
}

const wanted = process.argv.slice(2);
const results: string[][] = [];
for (const row of readRows(readFileSync(list, "utf8"))) {
  if (wanted.length > 0 && !wanted.includes(row.number)) continue;
  const wrong = await tryRow(row);
  results.push([row.number, `${row.file}: ${row.text}`.slice(0, 90), wrong ?? "fails as it must"]);
  if (wrong !== undefined) process.exitCode = 1;
}
process.stdout.write(`${formatTable(["test", "change", "result"], results)}\n`);
