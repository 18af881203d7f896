// The rules for one file: its first line, size, place and name, and the calls that have a better way.

import { fileLinesMax, functionLinesMax, holderLinesMax, longFiles, longFunctions } from "./allow.ts";
import { type Finding, isTest } from "./finding.ts";
import { type Source, functionsOf, importsOf, lineOf } from "./source.ts";

interface LineRule {
  rule: string;
  pattern: RegExp;
  /** Which text of the file the pattern is held against. */
  view: "raw" | "statements" | "code";
  where: (path: string) => boolean;
  advice: string;
}

const inSrc = (path: string): boolean => path.startsWith("src/") && !isTest(path);
const inProgram = (path: string): boolean => !isTest(path);
const everywhere = (): boolean => true;

/** Rules for TypeScript. The patterns are written so that none matches its own text here. */
const lineRules: readonly LineRule[] = [
  {
    rule: "shell",
    pattern: /\bshell\s*:\s*true\b|\bchild_process\.exec(?:Sync)?\b/g,
    view: "code",
    where: everywhere,
    advice: "no shell: execFile(program, [arguments])",
  },
  {
    rule: "environment",
    pattern: /\bprocess\.env\b|\bprocess\[/g,
    view: "code",
    where: (path) => inProgram(path) && path !== "src/base/config.ts",
    advice:
      "settings come from src/base/config.ts; take the value as a parameter, or name the file and why in tools/tidy/allow.ts",
  },
  {
    rule: "print",
    pattern: /\bconsole\.\w+/g,
    view: "code",
    where: inSrc,
    advice: "write to the log (src/base/log.ts), or print by process.stdout.write where it is the answer",
  },
  {
    rule: "timers",
    pattern: /(?<!\.)\bset(?:Timeout|Interval)\b/g,
    view: "code",
    where: inSrc,
    advice: "wait by src/base/pause.ts, work in the background by src/base/loop.ts",
  },
  {
    rule: "threads",
    pattern: /["'](?:node:)?worker_threads["']/g,
    view: "statements",
    where: inProgram,
    advice: "a thread inherits the namespace of its maker; the addon has the only threads",
  },
  {
    rule: "require",
    pattern: /\bcreateRequire\b/g,
    view: "code",
    where: inProgram,
    advice: "import it, so that the arrows can be checked",
  },
  {
    rule: "exit",
    pattern: /\bprocess\.(?:exit|abort|reallyExit)\s*\(/g,
    view: "code",
    where: (path) => (inSrc(path) || isTest(path)) && path !== "src/main.ts" && !path.startsWith("src/cli/"),
    advice: "throw: only src/main.ts and src/cli end the program, and a test that does hides those after it",
  },
  {
    rule: "random",
    pattern: /\bMath\.random\b/g,
    view: "code",
    where: everywhere,
    advice: "node:crypto (randomBytes, randomInt, randomUUID)",
  },
  {
    rule: "types",
    pattern: /\bas\s+any\b|\bas\s+unknown\s+as\b|<any>/g,
    view: "code",
    where: everywhere,
    advice: "say the type: check the value, or widen the declaration",
  },
  {
    rule: "types",
    pattern: /@ts-(?:ignore|expect-error|nocheck)\b/g,
    view: "raw",
    where: everywhere,
    advice: "say the type instead of silencing the compiler",
  },
  {
    rule: "lint",
    pattern: /\b(?:oxlint|eslint)-disable(?![^\n]* -- \w)/g,
    view: "raw",
    where: everywhere,
    advice: "add the reason: -disable-next-line RULE -- why",
  },
  {
    rule: "focus",
    pattern: /\.(?:only|todo|skip)\s*\(|\b(?:only|todo|skip)\s*:\s*(?:true\b|["'])/g,
    view: "code",
    where: isTest,
    advice: "every test runs: repair it, or remove it",
  },
  {
    rule: "sleep",
    pattern: /\b(?:sleep|delay)\s*\(|\bsetTimeout\(\s*[\w.]+\s*[,)]/g,
    view: "code",
    where: isTest,
    advice: "wait for the condition (test/until.ts), not for time to pass",
  },
  {
    rule: "sleep",
    pattern: /["'](?:node:)?timers\/promises["']/g,
    view: "statements",
    where: isTest,
    advice: "wait for the condition (test/until.ts), not for time to pass",
  },
];

/** Rules for every text file of the project, comments and documents too. */
const textRules: readonly Omit<LineRule, "view" | "where">[] = [
  {
    rule: "leftover",
    pattern: /\b(?:TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b/g,
    advice: "do it now, or make it an issue and remove the mark",
  },
  {
    rule: "machine-path",
    pattern: /(?<![\w.~-])\/(?:work|home|root)\/(?=[\w.])/g,
    advice: "no path of one machine: name it from the project's top, or take it from the environment",
  },
  {
    rule: "registry-host",
    pattern:
      /\b(?:registry\.(?:npmjs|yarnpkg)\.\w+|(?:proxy|sum)\.golang\.\w+|(?:deb|security|snapshot|archive|ports)\.(?:debian|ubuntu)\.\w+|pypi\.\w{3}|static\.crates\.\w+)\b/g,
    advice: "no registry's host name: the machine's own configuration says where packages come from",
  },
];

function matches(path: string, text: string, { rule, pattern, advice }: Omit<LineRule, "view" | "where">): Finding[] {
  return [...text.matchAll(pattern)].map(({ index }) => ({ path, line: lineOf(text, index), rule, advice }));
}

/** Findings in the text of any file, whatever its language. */
export function textFindings(path: string, text: string): Finding[] {
  return [
    ...textRules.flatMap((rule) => matches(path, text, rule)),
    ...firstLineFindings(path, text),
    ...nameFindings(path),
  ];
}

const firstLineForms: readonly { files: RegExp; form: RegExp }[] = [
  { files: /\.ts$/, form: /^\/\/ (.+)/ },
  { files: /\.[ch]$/, form: /^(?:\/\*|\/\/) (.+)/ },
  { files: /(?:\.sh|^\.ci\/run|^bin\/[\w-]+)$/, form: /^#!.*\n# (.+)/ },
  { files: /(?:^|\/)Makefile$|\.ya?ml$|^lab\/scenarios\/.*\.txt$/, form: /^# (.+)/ },
];

/** Four words are the least that says what a file owns. */
const firstLineWordsMin = 4;

function firstLineFindings(path: string, text: string): Finding[] {
  const form = firstLineForms.find(({ files }) => files.test(path))?.form;
  if (form === undefined) return [];
  const sentence = form.exec(text)?.[1] ?? "";
  if (sentence.split(/\s+/).length >= firstLineWordsMin) return [];
  return [{ path, line: 1, rule: "first-line", advice: "begin with one comment line that says what the file owns" }];
}

const nameForm = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*$/;
/** C has its own custom. */
const cNameForm = /^[a-z0-9]+(?:_[a-z0-9]+)*\.[ch]$/;
const named = /^(?:src|lab|test|bench|tools|native|bin)\//;
/** Words for rooms and files that own nothing. */
const ownsNothing = /^(?:utils?|helpers?|common|misc|index|shared)(?:\.|$)/;

function nameFindings(path: string): Finding[] {
  if (!named.test(path)) return [];
  const parts = path.split("/");
  const at = (rule: string, advice: string): Finding => ({ path, line: 1, rule, advice });
  const findings: Finding[] = [];
  for (const part of parts) {
    const fits = part === "Makefile" || part.endsWith(".md") || nameForm.test(part) || cNameForm.test(part);
    if (!fits) findings.push(at("name", `${part}: lower-case words with hyphens`));
    if (ownsNothing.test(part)) findings.push(at("name", `${part}: name it after what it owns`));
  }
  if (path.startsWith("src/") && path !== "src/main.ts" && (parts.length < 3 || parts.length > 4)) {
    findings.push(at("depth", "files lie at src/room/file or src/room/sub/file"));
  }
  return findings;
}

/** Findings in one TypeScript file, beside those of its text. */
export function sourceFindings(source: Source): Finding[] {
  const { path } = source;
  const calls = lineRules.filter(({ where }) => where(path)).flatMap((rule) => matches(path, source[rule.view], rule));
  return [...calls, ...shellImportFindings(source), ...barrelFindings(source), ...sizeFindings(source)];
}

function shellImportFindings(source: Source): Finding[] {
  return importsOf(source)
    .filter(({ specifier, clause }) => /^(?:node:)?child_process$/.test(specifier) && /\bexec(?:Sync)?\b/.test(clause))
    .map(({ line }) => ({
      path: source.path,
      line,
      rule: "shell",
      advice: "no shell: execFile(program, [arguments])",
    }));
}

function barrelFindings({ path, statements, code }: Source): Finding[] {
  const advice = "import things from the file that owns them";
  const star = matches(path, code, { rule: "barrel", pattern: /\bexport\s*\*/g, advice });
  const rest = statements.replace(/\b(?:import|export)\b[^;]*?\bfrom\s*["'][^"']+["'];?/g, "").trim();
  return star.length === 0 && rest === "" && /\bexport\b/.test(code)
    ? [{ path, line: 1, rule: "barrel", advice }]
    : star;
}

function sizeFindings(source: Source): Finding[] {
  const { path, raw } = source;
  const findings: Finding[] = [];
  const lines = raw.split("\n").length - (raw.endsWith("\n") ? 1 : 0);
  const linesMax = longFiles[path] ?? fileLinesMax;
  if (lines > linesMax) {
    findings.push({
      path,
      line: linesMax + 1,
      rule: "file-length",
      advice: `${lines} lines, at most ${linesMax}: split it by what each part owns`,
    });
  }
  for (const { line, lines, ownLines } of functionsOf(source)) {
    const ownMax = longFunctions[path] ?? functionLinesMax;
    const findingAt = (advice: string): number => findings.push({ path, line, rule: "function-length", advice });
    if (ownLines > ownMax) findingAt(`${ownLines} lines of its own, at most ${ownMax}: name its parts`);
    else if (lines > Math.max(ownMax, holderLinesMax)) {
      findingAt(`${lines} lines with the functions inside it, at most ${holderLinesMax}: move some of them out`);
    }
  }
  return findings;
}
