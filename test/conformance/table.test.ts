// Holds docs/conformance.md and the tests to each other: every number stands once on each side, with the same words and file.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

/** "number rule" -> file, by the names of the tests. */
function testsByName(): Map<string, string> {
  const found = new Map<string, string>();
  const directory = new URL("./", import.meta.url);
  for (const file of readdirSync(directory).filter((name) => name.endsWith(".kernel.test.ts"))) {
    const text = readFileSync(new URL(file, directory), "utf8");
    for (const [, name = ""] of text.matchAll(/"(\d+\.\d+ (?:[^"\\]|\\.)+)"/g)) {
      assert.ok(!found.has(name), `${name} stands twice`);
      found.set(name, file);
    }
  }
  return found;
}

/** The same by the rows of the table, with where each rule comes from. */
function rowsByName(): Map<string, { file: string; from: string }> {
  const text = readFileSync(new URL("../../docs/conformance.md", import.meta.url), "utf8");
  const rows = new Map<string, { file: string; from: string }>();
  for (const line of text.split("\n").filter((line) => /^\| \d/.test(line))) {
    const [number = "", rule = "", from = "", file = ""] = line
      .slice(2, -2)
      .split(" | ")
      .map((cell) => cell.trim());
    assert.ok(!rows.has(`${number} ${rule}`), `${number} stands twice in the table`);
    rows.set(`${number} ${rule}`, { file, from });
  }
  return rows;
}

test("every conformance test stands in the table, in its words, and every row has its test", () => {
  const tests = testsByName();
  const rows = rowsByName();
  assert.ok(tests.size > 100, `${tests.size} tests`);
  assert.deepEqual([...rows.keys()].sort(), [...tests.keys()].sort());
  for (const [name, { file }] of rows) assert.equal(`${file}.kernel.test.ts`, tests.get(name), name);
});

test("no number stands for two rules, and none is left out within a file", () => {
  const numbers = [...testsByName().keys()].map((name) => name.replace(/ .*/, ""));
  assert.equal(new Set(numbers).size, numbers.length);
  for (const number of numbers) {
    const [area = 0, place = 0] = number.split(".").map(Number);
    assert.ok(place === 1 || numbers.includes(`${area}.${place - 1}`), `${area}.${place - 1} is missing`);
  }
});

test("every row says where its rule comes from", () => {
  const sources = new Set(["specification", "library", "runtime", "ours"]);
  for (const [name, { from }] of rowsByName())
    assert.ok(
      from.split(", ").every((source) => sources.has(source)),
      `${name}: ${from}`,
    );
});
