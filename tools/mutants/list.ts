// The lists of changes that must turn a test red, test/mutants/*.txt: how they are written, and what a row says.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../../src/base/fault.ts";

/** One change to the code, and the test that has to notice it. */
export interface Row {
  /** File and line of the list. */
  place: string;
  /** What a user is promised, in plain words. */
  promise: string;
  /** From the project's top, as all paths here. */
  file: string;
  /** Stands exactly once in `file`. */
  text: string;
  becomes: string;
  test: TestRef;
}

export interface TestRef {
  file: string;
  /** The test's name, behind those of its suites with " > " between; of a scenario the step; of a C driver the function. */
  name: string;
}

/** What a test needs, by its file's name: the tiers of tools/test.sh. */
export type Tier = "unit" | "native" | "kernel" | "lab";

export function tierOf(testFile: string): Tier {
  if (testFile.startsWith("native/test/")) return "native";
  if (isScenario(testFile) || testFile.endsWith(".lab.test.ts")) return "lab";
  return testFile.endsWith(".kernel.test.ts") ? "kernel" : "unit";
}

export function isScenario(testFile: string): boolean {
  return testFile.startsWith("lab/scenarios/");
}

const directory = "test/mutants";

/** Every row of every list, in the order of files and lines. @throws Fault "bad-config" with the place of what cannot be read */
export function readLists(top: string): Row[] {
  const names = readdirSync(join(top, directory)).filter((name) => name.endsWith(".txt"));
  return names
    .sort()
    .flatMap((name) => parseList(readFileSync(join(top, directory, name), "utf8"), `${directory}/${name}`));
}

interface Draft {
  place: string;
  file: string;
  text: string[];
  becomes: string[];
}

/**
 * Reads one list. A promise stands at the line's beginning; below it stand one or more changes, each of them
 *
 *     in FILE
 *     - text as it is, a line for each line
 *     + text as it becomes; none where it only goes
 *     red TEST-FILE: NAME
 *
 * `in` and `red` are indented, "- " and "+ " are not; what follows these two is taken as it is, "-" and "+" alone are empty lines.
 * Lines with "#" are headings.
 */
export function parseList(list: string, file: string): Row[] {
  const rows: Row[] = [];
  let promise = "";
  let draft: Draft | undefined;
  for (const [index, line] of list.split("\n").entries()) {
    const place = `${file}:${index + 1}`;
    const wrong = (why: string): Fault => new Fault("bad-config", `${place}: ${why}`);
    const textLine = /^([-+])(?: (.*))?$/.exec(line);
    if (textLine !== null) {
      const [, mark, text = ""] = textLine;
      if (draft === undefined) throw wrong('a text needs a line "  in FILE" before it');
      draft[mark === "-" ? "text" : "becomes"].push(text);
    } else if (line.startsWith("  in ")) {
      if (promise === "") throw wrong("a change needs a promise above it");
      if (draft !== undefined) throw wrong(`the change of ${draft.place} has no line "  red TEST-FILE: NAME"`);
      draft = { place, file: line.slice(5), text: [], becomes: [] };
    } else if (line.startsWith("  red ")) {
      const test = /^([^\s:]+): (.+)$/.exec(line.slice(6));
      if (draft === undefined || draft.text.length === 0) throw wrong('a line "  red" needs a change before it');
      if (test === null) throw wrong('must be "  red TEST-FILE: NAME"');
      const [, testFile = "", name = ""] = test;
      const [text, becomes] = [draft.text.join("\n"), draft.becomes.join("\n")];
      if (text === becomes) throw wrong("the change changes nothing");
      rows.push({ place: draft.place, promise, file: draft.file, text, becomes, test: { file: testFile, name } });
      draft = undefined;
    } else if (line === "" || line.startsWith("#")) {
      if (draft !== undefined) throw wrong(`the change of ${draft.place} has no line "  red TEST-FILE: NAME"`);
    } else if (/^\s/.test(line)) throw wrong('begins with neither "  in ", "- ", "+ " nor "  red "');
    else if (draft === undefined) promise = line;
    else throw wrong(`the change of ${draft.place} has no line "  red TEST-FILE: NAME"`);
  }
  if (draft !== undefined) throw new Fault("bad-config", `${draft.place}: the change has no test that turns red`);
  return rows;
}
