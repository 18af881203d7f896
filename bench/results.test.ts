// The results file: one part's figures come in place of its old ones, and a run does not lose what others have measured.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { isFault } from "../src/base/fault.ts";
import type { Figures } from "./figures.ts";
import { makeRow, makeValue } from "./report.ts";
import { readResults, withPart, writeResults } from "./results.ts";

const figures = (ms: number): Figures => ({
  rows: ["DEL", "ADD"].map((name) => makeRow({ name, ours: [ms], fraction: 0.5 })),
  values: ["later", "early"].map((name) => makeValue(name, ms, "MB")),
});
const machine = { cores: 2 };
const order = ["single", "load"];

void test("a part that is measured again takes the place of its old figures; the others, and where they were measured, stay", () => {
  const first = withPart(withPart({}, "load", machine, figures(1), order), "single", machine, figures(2), order);
  assert.deepEqual(Object.keys(first), ["single", "load"], "in their order");
  const again = withPart(first, "load", { cores: 4 }, figures(3), order);
  assert.equal(again["single"], first["single"]);
  assert.deepEqual([again["load"]?.machine, again["load"]?.rows[0]?.ours_ms], [{ cores: 4 }, 3]);
});

void test("the file lists figures by name, each key in its place, and comes back as it was written", (t) => {
  const folder = mkdtempSync(`${tmpdir()}/fairlead-results-`);
  t.after(() => rmSync(folder, { recursive: true }));
  const file = `${folder}/results.json`;
  assert.deepEqual(readResults(file), {});
  const { rows, values } = figures(1);
  writeResults(file, withPart({}, "single", machine, { rows, values }, order));
  const text = readFileSync(file, "utf8");
  writeResults(file, withPart({}, "single", machine, { rows: rows.toReversed(), values: values.toReversed() }, order));
  assert.equal(readFileSync(file, "utf8"), text);
  assert.deepEqual(
    [...text.matchAll(/"name": "(\w+)"/g)].map(([, name]) => name),
    ["ADD", "DEL", "early", "later"],
  );
  assert.ok(text.endsWith("}\n"));
  assert.deepEqual(readResults(file)["single"]?.rows.length, 2);
});

void test("a file of something else is refused, not written over", (t) => {
  const folder = mkdtempSync(`${tmpdir()}/fairlead-results-`);
  t.after(() => rmSync(folder, { recursive: true }));
  for (const text of ["{", "[]", '{"rows":[]}']) {
    writeFileSync(`${folder}/other.json`, text);
    assert.throws(
      () => readResults(`${folder}/other.json`),
      (error) => isFault(error, "lab-failed") && error.message.includes("other.json"),
      text,
    );
  }
});
