// Whether a row still fits the tree: its text is there once, what it becomes is a program, its test has that name.

import { existsSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join } from "node:path";
import { importsOf, readSource, type Source } from "../tidy/source.ts";
import { isScenario, type Row, type TestRef } from "./list.ts";

/** Why the row proves nothing any more; undefined where it fits. */
export function staleness(top: string, { file, text, becomes, test }: Row): string | undefined {
  if (!existsSync(join(top, file))) return `there is no file ${file}`;
  const source = readFileSync(join(top, file), "utf8");
  const count = source.split(text).length - 1;
  if (count !== 1) return `the text stands ${count} times in ${file}`;
  if (file.endsWith(".ts")) {
    const broken = syntaxError(changed(source, { text, becomes }));
    if (broken !== undefined) return `with the change ${file} is no program: ${broken}`;
  }
  if (!existsSync(join(top, test.file))) return `there is no file ${test.file}`;
  return hasTest(top, test) ? undefined : `there is no "${test.name}" in ${test.file}`;
}

/** The source with the change made. */
export function changed(source: string, { text, becomes }: Pick<Row, "text" | "becomes">): string {
  return source.replace(text, () => becomes);
}

function syntaxError(source: string): string | undefined {
  try {
    stripTypeScriptTypes(source);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function hasTest(top: string, { file, name }: TestRef): boolean {
  const text = readFileSync(join(top, file), "utf8");
  if (isScenario(file)) return text.split("\n").includes(name);
  if (!file.endsWith(".ts")) return new RegExp(String.raw`\btest\(${name}\b`).test(text);
  const literals = literalsOf(top, file);
  return name.split(" > ").every((part) => literals.some((literal) => names(literal, part, literals)));
}

/** Files that one test file can be made of: itself, and the suites and helpers that it imports. */
const filesMax = 100;

/** The texts in quotes of a test file and of what it imports below test/ and lab/, where suites are shared. */
function literalsOf(top: string, file: string): string[] {
  const literals: string[] = [];
  const files = [file];
  for (let at = 0; at < files.length && at < filesMax; at += 1) {
    const path = files[at] ?? "";
    const source = readSource(path, readFileSync(join(top, path), "utf8"));
    literals.push(...quotedIn(source));
    for (const { specifier } of importsOf(source)) {
      const imported = join(dirname(path), specifier);
      const isShared = specifier.startsWith(".") && /^(?:test|lab)\//.test(imported);
      if (isShared && !files.includes(imported)) files.push(imported);
    }
  }
  return literals;
}

/** What stands in quotes, marks of escape removed. Inside them `code` is blank, so that the next quote of a kind ends it. */
function quotedIn({ raw, code }: Source): string[] {
  const found: string[] = [];
  for (let at = 0; at < code.length; at += 1) {
    const quote = code.charAt(at);
    if (!['"', "'", "`"].includes(quote)) continue;
    const end = code.indexOf(quote, at + 1);
    if (end === -1) break;
    found.push(raw.slice(at + 1, end).replaceAll(/\\(["'`$\\])/g, "$1"));
    at = end;
  }
  return found;
}

/** True where `literal` gives this name: as it is, or with other literals in the place of its "${…}". */
function names(literal: string, name: string, literals: readonly string[]): boolean {
  if (!literal.includes("${")) return literal === name;
  const pieces = literal.split(/\$\{[^}]*\}/).map((piece) => piece.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`));
  const holes = new RegExp(`^${pieces.join("(.+)")}$`).exec(name)?.slice(1);
  return holes?.every((hole) => literals.includes(hole)) === true;
}
