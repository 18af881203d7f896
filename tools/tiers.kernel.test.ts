// tools/test.sh watches the machine's own network: a test that leaves something in it, or takes something out, fails its tier.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { closingLine, runTier } from "../test/tier-tree.ts";

const name = `fltest-left-${process.pid}`;
const ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });

/** A test file whose one test runs `ip netns ACTION NAME` and passes. */
const touching = (action: string): string =>
  `import { execFileSync } from "node:child_process";\nimport { test } from "node:test";\n` +
  `void test("touches the machine", () => void execFileSync("ip", ["netns", "${action}", "${name}"]));\n`;

void test("a namespace that a test left behind is named, and fails the tier", (t) => {
  t.after(() => ip("netns", "delete", name));
  const { status, stdout, stderr } = runTier(t, { "src/a/a.kernel.test.ts": touching("add") }, ["kernel"]);
  assert.match(stderr, new RegExp(`^left behind: namespace ${name}$`, "m"));
  assert.deepEqual([status, closingLine(stdout)], [1, "1 passed, 1 failed"]);
});

void test("a namespace that a test removed is named, and fails the tier", (t) => {
  ip("netns", "add", name);
  t.after(() => ip("netns", "list").includes(name) && ip("netns", "delete", name));
  const { status, stdout, stderr } = runTier(t, { "src/a/a.kernel.test.ts": touching("delete") }, ["kernel"]);
  assert.match(stderr, new RegExp(`^removed: namespace ${name}$`, "m"));
  assert.deepEqual([status, closingLine(stdout)], [1, "1 passed, 1 failed"]);
});
