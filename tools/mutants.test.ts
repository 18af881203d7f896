// The tool that runs mutants: its lists fit the tree, and nothing counts as red that proves nothing.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { isFault } from "../src/base/fault.ts";
import { tryRows } from "./mutants.ts";
import { parseList, readLists, type Row, tierOf } from "./mutants/list.ts";
import { staleness } from "./mutants/stale.ts";

const top = fileURLToPath(new URL("../", import.meta.url));

void test("no row of the lists is stale, and every tier has some", () => {
  const rows = readLists(top);
  const stale = rows.flatMap((row) => staleness(top, row)?.replace(/^/, `${row.place}: `) ?? []);
  assert.deepEqual(stale, []);
  assert.deepEqual(new Set(rows.map((row) => tierOf(row.test.file))), new Set(["unit", "native", "kernel", "lab"]));
});

void test("a list is read: promises, changes of one line and of several, text as it is", () => {
  const list = [
    "# Heading",
    "",
    "All is well",
    "  in src/a.ts",
    "-   one",
    "-",
    "-   two",
    "+ - three",
    "  red src/a.test.ts: a suite > a test: with a colon",
    "  in native/b.c",
    "- gone",
    "  red native/test/b_test.c: it_goes",
  ].join("\n");
  const common = { promise: "All is well" };
  assert.deepEqual(parseList(list, "x.txt"), [
    {
      ...common,
      place: "x.txt:4",
      file: "src/a.ts",
      text: "  one\n\n  two",
      becomes: "- three",
      test: { file: "src/a.test.ts", name: "a suite > a test: with a colon" },
    },
    {
      ...common,
      place: "x.txt:10",
      file: "native/b.c",
      text: "gone",
      becomes: "",
      test: { file: "native/test/b_test.c", name: "it_goes" },
    },
  ]);
});

void test("a list that cannot be read is refused with the place", () => {
  const cases: [lines: string[], message: RegExp][] = [
    [["- a"], /^x\.txt:1: a text needs a line/],
    [["  in a.ts"], /^x\.txt:1: a change needs a promise/],
    [["All", "  in a.ts", "  in b.ts"], /^x\.txt:3: the change of x\.txt:2 has no line/],
    [["All", "  in a.ts", "- a", ""], /^x\.txt:4: the change of x\.txt:2 has no line/],
    [["All", "  in a.ts", "- a"], /^x\.txt:2: the change has no test/],
    [["All", "  in a.ts", "  red b: c"], /^x\.txt:3: a line " {2}red" needs a change/],
    [["All", "  in a.ts", "- a", "  red b"], /^x\.txt:4: must be " {2}red TEST-FILE: NAME"/],
    [["All", "  in a.ts", "- a", "+ a", "  red b: c"], /^x\.txt:5: the change changes nothing/],
    [["All", "   in a.ts"], /^x\.txt:2: begins with neither/],
  ];
  for (const [lines, message] of cases) {
    assert.throws(
      () => parseList(lines.join("\n"), "x.txt"),
      (error) => isFault(error, "bad-config") && message.test(error.message),
      lines.join("|"),
    );
  }
});

const source = `export const sum = (a: number, b: number): number => a + b;
export const other = (): number => 1;
export const same = 0 + 0;
`;

const tests = `import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { other, sum } from "./a.ts";
void test("adds", () => { assert.equal(sum(1, 2), 3); other(); });
void test("fails anyway", () => assert.fail("as ever"));
void test("fails once", () => {
  if (!existsSync("PROJECT/once")) { writeFileSync("PROJECT/once", ""); assert.fail("busy"); }
  assert.equal(sum(1, 2), 3);
});
void test("is left out", { skip: "here" }, () => {});
void test("ends the program", () => { if (sum(1, 1) !== 2) process.exit(0); });
for (const by of [0, 2]) void test("twice", () => { assert.equal(sum(2, by), 2 + by); });
for (const name of ["one", "two"]) void test(\`of \${name}\`, () => { assert.equal(sum(1, 1), 2); });
`;

/** A project of its own with one file and its tests. */
function makeProject(t: TestContext): string {
  const project = mkdtempSync(join(tmpdir(), "fairlead-mutants-"));
  t.after(() => rmSync(project, { recursive: true }));
  for (const directory of ["build", "node_modules"]) mkdirSync(join(project, directory));
  const files = {
    "package.json": '{"type":"module"}',
    "src/a.ts": source,
    "src/a.test.ts": tests.replaceAll("PROJECT", project),
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(project, path)), { recursive: true });
    writeFileSync(join(project, path), text);
  }
  symlinkSync("nowhere", join(project, "build", "made"));
  return project;
}

const row = (part: Partial<Row>, name = "adds"): Row => ({
  place: "x.txt:1",
  promise: "sums are right",
  file: "src/a.ts",
  text: "a + b",
  becomes: "a - b",
  test: { file: "src/a.test.ts", name },
  ...part,
});

void test("red is only what fails by the change, in the named test, for a reason that a program can have", async (t) => {
  const project = makeProject(t);
  const cases: [row: Row, mark: string, why: RegExp][] = [
    [row({}), "red", /-1 !== 3/],
    [row({}, "of two"), "red", /0 !== 2/],
    [row({}, "twice"), "red", /0 !== 4/],
    [row({ text: "0 + 0", becomes: "1" }), "green", /passes all the same/],
    [row({ text: "a * b" }), "stale", /stands 0 times/],
    [row({ text: "number" }), "stale", /stands 4 times/],
    [row({ becomes: "a +" }), "stale", /is no program/],
    [row({ file: "src/b.ts" }), "stale", /no file src\/b\.ts/],
    [row({}, "divides"), "stale", /no "divides"/],
    [row({}, "of three"), "stale", /no "of three"/],
    [row({}, "fails anyway"), "control", /as ever/],
    [row({}, "fails once"), "red", /-1 !== 3/],
    [row({}, "is left out"), "skipped", /does not run/],
    [row({}, "ends the program"), "broken", /without a word/],
    [row({ becomes: "a + c" }), "broken", /ReferenceError: c is not defined/],
    [row({ text: "export const other", becomes: "const other" }), "broken", /does not provide an export/],
  ];
  const rows = cases.map(([each]) => each);
  const outcomes = await tryRows({ top: project, rows, signal: new AbortController().signal });
  for (const [each, mark, why] of cases) {
    const outcome = outcomes.find(({ row }) => row === each);
    assert.equal(outcome?.mark, mark, `${each.text} -> ${each.becomes}, ${each.test.name}: ${outcome?.why}`);
    assert.match(outcome?.why ?? "", why);
  }
  assert.deepEqual(readdirSync(join(project, "build", "mutants")), [], "no copy stays");
});
