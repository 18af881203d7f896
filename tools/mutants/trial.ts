// One trial: tests of one file run in a copy of the tree, and what was seen of each.

import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Change, type Copy, makeCopy } from "./copy.ts";
import { isScenario, tierOf } from "./list.ts";
import type { TestEnd } from "./reporter.ts";
import { type Ended, run } from "./run.ts";

export interface TrialOptions {
  top: string;
  testFile: string;
  /** Tests to run; scenarios and C drivers are run whole. */
  names: readonly string[];
  /** None for the tree as it is. */
  change?: Change;
  signal: AbortSignal;
}

export interface Seen {
  ends: { name: string; ended: TestEnd["ended"]; why: string }[];
  /** Last words of a run that ended without a word on any test: it does not load, does not build, or took too long. */
  trouble?: string;
}

/** A test that takes longer has failed, unless it names a time of its own; a run as a whole is killed. Beside other work each takes some times longer. */
const testMsMax = 30_000;
const runMsMax = 150_000;

const reporter = fileURLToPath(new URL("reporter.ts", import.meta.url));

/** Runs the tests. Never throws for what they do. */
export async function tryTests({ top, testFile, names, change, signal }: TrialOptions): Promise<Seen> {
  const fresh = freshOf(testFile, change);
  const copy = makeCopy({ top, change, fresh });
  try {
    const broken = fresh === undefined ? undefined : await build(copy, fresh, signal);
    if (broken !== undefined) return { ends: [], trouble: `it does not build: ${inOneLine(broken)}` };
    if (tierOf(testFile) === "native") return await runDriver(copy, testFile, signal);
    return isScenario(testFile)
      ? await runScenario(copy, testFile, signal)
      : await runTests(copy, testFile, names, signal);
  } finally {
    copy.remove();
  }
}

/** What has to be built: the C driver that is run, or the program that a changed C file is part of. */
function freshOf(testFile: string, change: Change | undefined): string | undefined {
  if (tierOf(testFile) === "native") return `native-test/${basename(testFile).replace("_test.c", "-address")}`;
  if (change?.file.startsWith("native/") !== true) return undefined;
  return basename(change.file).startsWith("shim") ? "fairlead-cni" : "fairlead.node";
}

async function runTests(copy: Copy, testFile: string, names: readonly string[], signal: AbortSignal): Promise<Seen> {
  const report = join(copy.temporary, "report");
  const patterns = names.map((name) => `--test-name-pattern=^${name.split(" > ").map(literally).join(" ")}$`);
  const ended = await runInCopy(
    copy,
    [
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      `--test-timeout=${testMsMax}`,
      `--test-reporter=${reporter}`,
      `--test-reporter-destination=${report}`,
      ...patterns,
      testFile,
    ],
    { ownMachine: tierOf(testFile) !== "unit", signal },
  );
  const lines = existsSync(report) ? readFileSync(report, "utf8").split("\n") : [];
  const ends = lines
    .filter((line) => line !== "")
    .map((line): TestEnd => JSON.parse(line))
    .map(({ path, ended, why }) => ({ name: path.join(" > "), ended, why }));
  return withTrouble(ends, ended);
}

/** As `fairlead lab run` tells it: a line for each step, and below the summary what was seen instead. */
async function runScenario(copy: Copy, file: string, signal: AbortSignal): Promise<Seen> {
  const ended = await runInCopy(copy, ["bin/fairlead", "lab", "run", file], { ownMachine: true, signal });
  const ends = [...ended.output.matchAll(/^ {2}(ok {2}|FAIL) +[\d.]+ s {2}(.*?)(?: \(\d+ probes\))?$/gm)].map(
    ([, mark, name = ""]) => ({
      name,
      ended: mark === "FAIL" ? ("failed" as const) : ("passed" as const),
      why: new RegExp(`^\\S+:\\d+: ${literally(name)}\\n {2}(.*)$`, "m").exec(ended.output)?.[1] ?? "",
    }),
  );
  return withTrouble(ends, ended);
}

/** A driver ends at its first check that does not hold, and says in which of its tests. */
async function runDriver(copy: Copy, file: string, signal: AbortSignal): Promise<Seen> {
  const driver = `build/${freshOf(file, undefined) ?? ""}`;
  // Drivers leave what they have made below /tmp where they fail. The path is relative: the copy may lie there too.
  const command = ["sh", "-ec", `mount -t tmpfs none /tmp; exec "./$0"`, driver];
  const ended = await runInCopy(copy, command, { ownMachine: true, signal });
  if (ended.code === 0) {
    const tests = readFileSync(join(copy.top, file), "utf8").matchAll(/\btest\((\w+)/g);
    return { ends: [...tests].map(([, name = ""]) => ({ name, ended: "passed", why: "" })) };
  }
  const [, name, condition = ""] = /^(?:\S+:\d+: )?(\w+): not so: (.*)$/m.exec(ended.output) ?? [];
  return withTrouble(name === undefined ? [] : [{ name, ended: "failed", why: `not so: ${condition}` }], ended);
}

function runInCopy(
  { top, temporary }: Copy,
  command: readonly string[],
  options: { ownMachine: boolean; signal: AbortSignal },
): Promise<Ended> {
  return run({ command, cwd: top, temporary, timeoutMs: runMsMax, ...options });
}

function withTrouble(ends: Seen["ends"], { output, timedOut }: Ended): Seen {
  if (timedOut) return { ends, trouble: `no end within ${runMsMax / 1000} s` };
  return ends.length > 0 ? { ends } : { ends, trouble: inOneLine(output) || "it ended without a word" };
}

const literally = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);

/** The first lines, which name the error. */
const inOneLine = (text: string): string => text.trim().replaceAll(/\s+/g, " ").slice(0, 300);
