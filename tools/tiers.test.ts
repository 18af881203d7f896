// tools/test.sh: what it counts, and that nothing which failed, was skipped or was never there passes for success.

import assert from "node:assert/strict";
import { test } from "node:test";
import { closingLine, runTier } from "../test/tier-tree.ts";

const passing = `import { test } from "node:test";\nvoid test("fine", () => {});\nvoid test("fine too", () => {});\n`;
const failing = `import { test } from "node:test";\nvoid test("bad", () => { throw new Error("broken"); });\n`;
const skipping = `import { test } from "node:test";\nvoid test("not <here> & now", { skip: "no such kernel" }, () => {});\n`;

void test("counts what passed and closes with it", (t) => {
  const { status, stdout } = runTier(t, { "src/net/a.test.ts": passing, "lab/b.test.ts": passing }, ["unit"]);
  assert.equal(closingLine(stdout), "4 passed, 0 failed");
  assert.match(stdout, /^unit +4 +0 +0 +\d+$/m);
  assert.equal(status, 0);
});

void test("a file's name says which tier it is of", (t) => {
  const files = {
    "src/a/a.test.ts": passing,
    "src/a/b.kernel.test.ts": failing,
    "src/a/c.lab.test.ts": failing,
    "test/c/d.cluster.test.ts": failing,
  };
  assert.equal(closingLine(runTier(t, files, ["unit"]).stdout), "2 passed, 0 failed");
  const { status, stderr } = runTier(t, files, ["unit", "src/a/b.kernel.test.ts"]);
  assert.equal(status, 2);
  assert.match(stderr, /src\/a\/b\.kernel\.test\.ts is no test file of the tier unit/);
});

void test("runs some files where they are named", (t) => {
  const files = { "src/a/a.test.ts": passing, "src/a/b.test.ts": failing };
  const { status, stdout } = runTier(t, files, ["unit", "./src/a/a.test.ts"]);
  assert.deepEqual([status, closingLine(stdout)], [0, "2 passed, 0 failed"]);
});

void test("whatever breaks is a failure", (t) => {
  const cases: [text: string, closing: string][] = [
    [failing, "2 passed, 1 failed"],
    ['throw new Error("at load");\n', "2 passed, 1 failed"],
    ['import "./nowhere.ts";\n', "2 passed, 1 failed"],
    ["process.exit(3);\n", "2 passed, 1 failed"],
    ['process.kill(process.pid, "SIGKILL");\n', "2 passed, 1 failed"],
    [`import { test } from "node:test";\nvoid test("ends all", () => process.exit(0));\n`, "2 passed, 1 failed"],
    ["process.exit(0);\n", "2 passed, 1 failed"],
  ];
  for (const [text, closing] of cases) {
    const { status, stdout } = runTier(t, { "src/a/a.test.ts": passing, "src/a/b.test.ts": text }, ["unit"]);
    assert.deepEqual([status, closingLine(stdout)], [1, closing], text);
  }
});

void test("the end says what failed, and why: in few lines, the first of each failure", (t) => {
  const told = `import { test } from "node:test";
void test("a <b>", () => { throw new Error("one\\n\\n  two & \\"three\\"\\n${"x".repeat(300)}\\n4\\n5\\n6\\nseventh"); });
for (let n = 0; n < 12; n += 1) void test(\`more \${n}\`, () => { throw new Error("again"); });\n`;
  const { stdout } = runTier(t, { "src/a/a.test.ts": passing, "src/a/b.test.ts": told }, ["unit"]);
  const end = stdout.slice(stdout.indexOf("failed in the tier unit:"), stdout.indexOf("\ntier "));
  const first = `a <b> (src/a/b.test.ts)\n  one\n    two & "three"\n  ${"x".repeat(200)}\n  4\n  5\n  6\n`;
  assert.ok(end.startsWith(`failed in the tier unit:\n${first}more 0 (src/a/b.test.ts)\n  again\n`), end);
  assert.ok(end.endsWith("more 10 (src/a/b.test.ts)\n  again\nand 1 more\n"), end);
  assert.doesNotMatch(runTier(t, { "src/a/a.test.ts": passing }, ["unit"]).stdout, /failed in/);
});

void test("a tier without tests fails", (t) => {
  const { status, stdout, stderr } = runTier(t, { "src/a/a.kernel.test.ts": passing }, ["unit"]);
  assert.deepEqual([status, closingLine(stdout)], [1, "0 passed, 1 failed"]);
  assert.match(stderr, /the tier unit has no test file/);
});

void test("a skipped test is named, and with CI=true it is a failed one", (t) => {
  const files = { "src/a/a.test.ts": passing, "src/a/b.test.ts": skipping };
  const alone = runTier(t, files, ["unit"]);
  assert.match(alone.stderr, /1 skipped in the tier unit:\n {2}skipped: not <here> & now \(src\/a\/b\.test\.ts\)\n/);
  assert.deepEqual([alone.status, closingLine(alone.stdout)], [0, "2 passed, 0 failed"]);
  assert.match(alone.stdout, /^unit +2 +0 +1 +\d+$/m);
  const inCi = runTier(t, files, ["unit"], { CI: "true" });
  assert.deepEqual([inCi.status, closingLine(inCi.stdout)], [1, "2 passed, 1 failed"]);
  assert.match(inCi.stdout, /failed in the tier unit:\n {2}skipped: not <here> & now \(src\/a\/b\.test\.ts\)\n/);
  assert.doesNotMatch(alone.stdout, /failed in/);
});

void test("odd surroundings change nothing", (t) => {
  const env = { NODE_OPTIONS: "--no-such-flag", NODE_TEST_CONTEXT: "child-v8", LC_ALL: "xx_YY.none", CDPATH: "/tmp" };
  const { status, stdout } = runTier(t, { "src/a/a.test.ts": passing }, ["unit"], env);
  assert.deepEqual([status, closingLine(stdout)], [0, "2 passed, 0 failed"]);
});

void test("an unknown tier is refused with the usage", (t) => {
  const { status, stderr } = runTier(t, {}, ["everything"]);
  assert.equal(status, 2);
  assert.match(stderr, /usage: tools\/test\.sh all, or check\|unit/);
});
