// spawn.c by its own protocol: what the programs get, what they are said to have done, and that the time is theirs.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const directory = mkdtempSync(join(tmpdir(), "fairlead-spawn-"));
after(() => rmSync(directory, { recursive: true }));
const program = join(directory, "spawn");
const source = fileURLToPath(new URL("spawn.c", import.meta.url));
execFileSync("gcc", ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", program, source]);

function spawned(lines: readonly string[]): { stdout: string; status: number | null; stderr: string } {
  const input = `${lines.join("\n")}\n`;
  return spawnSync(program, [], { input, encoding: "utf8", timeout: 20_000, env: { INHERITED: "never" } });
}

function spawner(...lines: string[]): { answers: number[][]; status: number | null; stderr: string } {
  const { stdout, status, stderr } = spawned(lines);
  return {
    answers: stdout
      .split("\n")
      .slice(0, -1)
      .map((line) => line.split(" ").map(Number)),
    status,
    stderr,
  };
}

const shell = (script: string): string[] => ["arg /bin/sh", "arg -c", `arg ${script}`, "env PATH=/usr/bin:/bin"];
const exits = (...lines: string[]): (number | undefined)[] => spawner(...lines).answers.map(([exit]) => exit);

void test("exit codes and signals are told apart", () => {
  assert.deepEqual(
    exits(...["exit 0", "exit 3", "kill -9 $$", "exit 255"].flatMap((script) => [...shell(script), "go"])),
    [0, 3, 137, 255],
  );
});

void test("a program gets its own arguments, environment and files, and nothing of the one before", () => {
  const input = join(directory, "in");
  const first = join(directory, "first");
  const second = join(directory, "second");
  writeFileSync(input, "hello\n");
  writeFileSync(first, "what stood here before, and was longer than what comes\n");
  // The last figure: how many of its descriptors lead to files of ours.
  const script = 'echo "$#:$1:$A:$INHERITED:$(cat):$(readlink /proc/$$/fd/* | grep -c /fairlead-spawn-)"';
  const asked = shell(script);
  const words = ["arg sh", "arg two words", "env A=b=c d", `in ${input}`];
  const run = spawner(...asked, ...words, `out ${first}`, "go", ...asked, `out ${second}`, "go");
  assert.deepEqual([run.status, run.stderr], [0, ""]);
  assert.equal(readFileSync(first, "utf8"), "1:two words:b=c d::hello:2\n");
  assert.equal(readFileSync(second, "utf8"), "0:::::1\n");
});

void test("the time is that of the program", () => {
  const { answers } = spawner("arg /bin/sleep", "arg 0.2", "go", "arg /bin/true", "go");
  const [[, slow = 0] = [], [, quick = 0] = []] = answers;
  assert.ok(slow >= 200e6 && slow < 5e9, `${slow} ns for 0.2 s`);
  assert.ok(quick > 50e3 && quick < slow, `${quick} ns for nothing`);
});

void test("a burst runs all at once, and tells them in the order in which they were kept", () => {
  const all = [1.2, 0.4, 0.8].flatMap((seconds, at) => [...shell(`sleep ${seconds}; exit ${at}`), "keep -"]);
  const { answers, stderr } = spawner(...all, "burst -", "arg /bin/true", "go");
  assert.equal(stderr, "");
  assert.deepEqual(
    answers.map(([exit]) => exit),
    [0, 1, 2, 0],
  );
  const [first = 0, second = 0, third = 0] = answers.map(([, ns]) => ns);
  assert.ok(second >= 400e6 && third >= 800e6 && first >= 1200e6 && first < 2300e6, `${first} ${second} ${third}`);
});

void test("a cycle runs as many pairs as it may beside each other, in turn, each with its files from their beginning", () => {
  const file = join(directory, "cycled");
  const input = join(directory, "cycle-in");
  writeFileSync(input, "hello\n");
  const pair = [
    ...shell("sleep 0.01; cat; exit 3"),
    `in ${input}`,
    `out ${file}`,
    "keep -",
    ...shell("exit 4"),
    "keep -",
  ];
  const { stdout, stderr } = spawned([...pair, ...pair, ...pair, "cycle 2 1500"]);
  assert.equal(stderr, "");
  const lines = stdout.trimEnd().split("\n");
  const [, wallNs] = /^0 (\d+)$/.exec(lines.pop() ?? "") ?? [];
  assert.ok(Number(wallNs) >= 1500e6, stdout);
  for (const place of [0, 2, 4]) {
    const own = lines.map((line) => line.split(" ").map(Number)).filter(([, , at = 0]) => at - (at % 2) === place);
    assert.ok(own.length >= 4, `${own.length} runs`);
    assert.deepEqual(
      own.map(([exit, , at]) => [exit, at]),
      own.map((_, turn) => (turn % 2 === 0 ? [3, place] : [4, place + 1])),
    );
  }
  assert.equal(readFileSync(file, "utf8"), "hello\n");
});

void test("what it does not understand or cannot do ends it with 2 and a sentence", () => {
  const cases: [lines: string[], words: RegExp][] = [
    [["frobnicate x"], /'frobnicate' is no instruction/],
    [["arg"], /lacks its text/],
    [["go"], /nothing to run/],
    [["arg /nowhere/to/be/found", "go"], /\/nowhere\/to\/be\/found: No such file/],
    [["in /nowhere/to/be/found"], /No such file/],
    [Array.from({ length: 65 }, () => "arg x"), /more than 64/],
    [Array.from({ length: 513 }, () => "keep -"), /more than 512/],
    [["arg /bin/true", "keep -", "cycle 1 100"], /needs pairs, not 1/],
    [["cycle soon"], /'cycle soon' has no time/],
    [["cycle 1"], /'cycle 1' has no time/],
    [["arg /bin/true", "keep -", "arg /bin/true", "keep -", "cycle 1 100"], /1 pairs cannot run 1 at a time/],
  ];
  for (const [lines, words] of cases) {
    const { status, stderr, answers } = spawner(...lines);
    assert.equal(status, 2, lines.join(", "));
    assert.match(stderr, words);
    assert.deepEqual(answers, []);
  }
});
