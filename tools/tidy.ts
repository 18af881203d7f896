// Style as a test: walks the project's files and prints every breach of its rules as file:line: rule: what to do.

import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { type Allowed, allowed, longFiles, longFunctions } from "./tidy/allow.ts";
import { arrowFindings, cycleFindings } from "./tidy/arrows.ts";
import type { Finding } from "./tidy/finding.ts";
import { sourceFindings, textFindings } from "./tidy/rules.ts";
import { readSource } from "./tidy/source.ts";

export interface TextFile {
  /** From the project's top, with forward slashes. */
  path: string;
  text: string;
}

/** Folders that are not ours to judge. */
const foreign = new Set(["node_modules", "build", ".git"]);
const checked = /\.(?:ts|c|h|sh|md|json|ya?ml|txt|mod|bt)$|(?:^|\/)(?:Makefile|Dockerfile)$|^\.ci\/|^bin\/|^\.\w+$/;
/** More files than this is a walk that went astray. */
const filesMax = 5000;

/** Reads every text file of the project below `top`. */
export function projectFiles(top: string): TextFile[] {
  const files: TextFile[] = [];
  const walk = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const full = join(folder, entry.name);
      const path = relative(top, full);
      if (entry.isDirectory() && !foreign.has(entry.name)) walk(full);
      if (entry.isFile() && checked.test(path)) files.push({ path, text: readFileSync(full, "utf8") });
      if (files.length > filesMax)
        throw new Error(`more than ${filesMax} files below ${top}; is it the project's top?`);
    }
  };
  walk(top);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Everything wrong with `files`, in the order of path and line, exceptions not yet applied. */
function breaches(files: readonly TextFile[]): Finding[] {
  const sources = files.filter(({ path }) => path.endsWith(".ts")).map(({ path, text }) => readSource(path, text));
  return [
    ...files.flatMap(({ path, text }) => textFindings(path, text)),
    ...sources.flatMap(sourceFindings),
    ...arrowFindings(sources),
    ...cycleFindings(sources),
  ].sort((a, b) => (a.path === b.path ? a.line - b.line : a.path < b.path ? -1 : 1));
}

const excuses = (entry: Allowed, { path, rule }: Finding): boolean => entry.path === path && entry.rule === rule;

/** Everything wrong with `files` that no entry of `exceptions` excuses. */
export function tidy(files: readonly TextFile[], exceptions: readonly Allowed[] = allowed): Finding[] {
  return breaches(files).filter((finding) => !exceptions.some((entry) => excuses(entry, finding)));
}

/** The same for a whole project, and the exceptions that excuse nothing any more. */
export function tidyProject(files: readonly TextFile[], exceptions: readonly Allowed[] = allowed): Finding[] {
  const found = breaches(files);
  const stale = exceptions
    .filter((entry) => !found.some((finding) => excuses(entry, finding)))
    .map(({ rule, path }) => `the exception from ${rule} for ${path}: it excuses nothing any more`);
  const gone = [...Object.keys(longFiles), ...Object.keys(longFunctions)]
    .filter((path) => !files.some((file) => file.path === path))
    .map((path) => `the ratchet of ${path}: there is no such file`);
  return [
    ...tidy(files, exceptions),
    ...[...stale, ...gone].map((what) => ({
      path: "tools/tidy/allow.ts",
      line: 1,
      rule: "stale",
      advice: `remove ${what}`,
    })),
  ];
}

/** One line of output. */
export function findingLine({ path, line, rule, advice }: Finding): string {
  return `${path}:${line}: ${rule}: ${advice}`;
}

if (import.meta.main) {
  const files = projectFiles(dirname(dirname(fileURLToPath(import.meta.url))));
  const findings = tidyProject(files);
  for (const finding of findings) process.stdout.write(`${findingLine(finding)}\n`);
  if (findings.length > 0) process.exitCode = 1;
}
