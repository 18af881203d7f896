// docs/cni.md names every error code of the one table, and no other.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { faults } from "../src/base/fault.ts";

void test("the page of codes is that of the table", () => {
  const page = readFileSync(new URL("../docs/cni.md", import.meta.url), "utf8");
  const rows = page
    .slice(page.indexOf("\n## Codes\n"))
    .split("\n")
    .map((line) => /^\| ([\d, ]+) \|/.exec(line)?.[1])
    .filter((cell) => cell !== undefined);
  const told = rows.flatMap((cell) => cell.split(", ").map(Number));
  const known = new Set(Object.values(faults).map(({ cni }) => cni));
  assert.deepEqual(
    told.toSorted((a, b) => a - b),
    [...known].toSorted((a, b) => a - b),
  );
});
