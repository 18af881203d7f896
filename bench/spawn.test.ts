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

function spawner(...lines: string[]): { answers: number[][]; status: number | null; stderr: string } {
  const { stdout, status, stderr } = spawnSync(program, [], {
    input: `${lines.join("\n")}\n`,
    encoding: "utf8",
    timeout: 20_000,
    env: { INHERITED: "never" },
  });
  return {
    answers: stdout
      .split("\n")
      .slice(0, -1)
      .map((line) => line.split(" ").map(Number)),
    status,
    stderr,
  };
}

const exits = (...lines: string[]): (number | undefined)[] => spawner(...lines).answers.map(([exit]) => exit);

void test("exit codes and signals are told apart", () => {
  const shell = (script: string): string[] => ["arg /bin/sh", "arg -c", `arg ${script}`, "go"];
  assert.deepEqual(
    exits(...shell("exit 0"), ...shell("exit 3"), ...shell("kill -9 $$"), ...shell("exit 255")),
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
  const script = 'arg echo "$#:$1:$A:$INHERITED:$(cat):$(readlink /proc/$$/fd/* | grep -c /fairlead-spawn-)"';
  const shell = ["arg /bin/sh", "arg -c", script, "env PATH=/usr/bin:/bin"];
  const words = ["arg sh", "arg two words", "env A=b=c d", `in ${input}`];
  const run = spawner(...shell, ...words, `out ${first}`, "go", ...shell, `out ${second}`, "go");
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

void test("what it does not understand or cannot do ends it with 2 and a sentence", () => {
  const cases: [lines: string[], words: RegExp][] = [
    [["frobnicate x"], /'frobnicate' is no instruction/],
    [["arg"], /lacks its text/],
    [["go"], /go without a program/],
    [["arg /nowhere/to/be/found", "go"], /\/nowhere\/to\/be\/found: No such file/],
    [["in /nowhere/to/be/found"], /No such file/],
    [Array.from({ length: 65 }, () => "arg x"), /more than 64/],
  ];
  for (const [lines, words] of cases) {
    const { status, stderr, answers } = spawner(...lines);
    assert.equal(status, 2, lines.join(", "));
    assert.match(stderr, words);
    assert.deepEqual(answers, []);
  }
});
