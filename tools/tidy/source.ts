// What tidy sees of a TypeScript file: its text without comments, without strings, its imports and the extent of its functions.

/** One source file as the rules read it. All texts have the same length and line breaks, so that an offset means one place in each. */
export interface Source {
  /** Path from the project's top, with forward slashes. */
  path: string;
  raw: string;
  /** Comments are blanks. */
  statements: string;
  /** Comments and what stands inside strings, templates and regular expressions are blanks; the quotes stay. */
  code: string;
}

export interface Import {
  specifier: string;
  /** True for `import type` and `export type`: erased when the file runs. */
  typeOnly: boolean;
  /** What stands between `import` and `from`; "" for a bare or dynamic import. */
  clause: string;
  line: number;
}

export interface FunctionExtent {
  /** Where it begins, from 1. */
  line: number;
  lines: number;
  /** Lines outside the named functions that stand in it. */
  ownLines: number;
}

/** The line, from 1, of an offset into `text`. */
export function lineOf(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) line += 1;
  return line;
}

const blank = (text: string): string => text.replace(/[^\n]/g, " ");

/** After one of these a slash begins a regular expression; elsewhere it divides. */
const beforeRegex =
  /(?:^|[=(,:;!&|?{}[+\-*%<>~^]|\b(?:return|typeof|case|in|of|void|delete|do|else|await|yield|throw))\s*$/;

/** A lexical piece that is no code, from where it begins. Templates are pieced apart by the reader. */
const commentPattern = /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y;
const stringPattern = /"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*'/y;
const regexPattern = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[dgimsuvy]*/y;
/** From a backtick or the closing brace of a substitution to the next `${` or backtick. */
const templatePattern = /[`}](?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{|$)/y;

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

/** Reads a file's text once, from left to right. */
export function readSource(path: string, raw: string): Source {
  let statements = "";
  let code = "";
  const templateDepths: number[] = []; // brace depth at which each open `${` ends
  let depth = 0;

  const take = (piece: string, kind: "comment" | "quoted"): void => {
    statements += kind === "comment" ? blank(piece) : piece;
    code +=
      kind === "comment" || piece.length < 2 ? blank(piece) : `${piece[0]}${blank(piece.slice(1, -1))}${piece.at(-1)}`;
  };
  /** A template up to its end or its next substitution, whose braces count as braces of the code. */
  const takeTemplate = (piece: string): void => {
    take(piece, "quoted");
    if (!piece.endsWith("${")) return;
    templateDepths.push(depth);
    depth += 1;
  };
  const takeChar = (char: string): void => {
    if (char === "{") depth += 1;
    if (char === "}") depth -= 1;
    statements += char;
    code += char;
  };

  while (code.length < raw.length) {
    const at = code.length;
    const char = raw.charAt(at);
    if (char === "/") {
      const comment = matchAt(commentPattern, raw, at);
      const regex = comment === undefined && beforeRegex.test(code.slice(-200)) && matchAt(regexPattern, raw, at);
      if (comment !== undefined) take(comment, "comment");
      else if (typeof regex === "string") take(regex, "quoted");
      else takeChar(char);
    } else if (char === '"' || char === "'") take(matchAt(stringPattern, raw, at) ?? char, "quoted");
    else if (char === "`") takeTemplate(matchAt(templatePattern, raw, at) ?? char);
    else if (char === "}" && templateDepths.at(-1) === depth - 1) {
      depth -= 1;
      templateDepths.pop();
      takeTemplate(matchAt(templatePattern, raw, at) ?? char);
    } else takeChar(char);
  }
  return { path, raw, statements, code };
}

const importPattern =
  /\b(import|export)\s+(type\s+)?([^;"'`()]*?)\bfrom\s*["']([^"']+)["']|\bimport\s*["']([^"']+)["']|\bimport\s*\(\s*["']([^"']+)["']\s*\)/g;

/** Every import, re-export and dynamic import with a literal name. */
export function importsOf({ statements, code }: Source): Import[] {
  const found: Import[] = [];
  for (const match of statements.matchAll(importPattern)) {
    const [, word = "import", type, clause = "", from, bare, dynamic] = match;
    if (!code.startsWith(word, match.index)) continue; // it stands in a string
    const typeOnly = type !== undefined || onlyTypes(clause);
    found.push({ specifier: from ?? bare ?? dynamic ?? "", typeOnly, clause, line: lineOf(statements, match.index) });
  }
  return found;
}

/** `import { type A, type B }` is erased too. */
function onlyTypes(clause: string): boolean {
  const names = /^\{([\s\S]*)\}\s*$/
    .exec(clause.trim())?.[1]
    ?.split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  return names !== undefined && names.length > 0 && names.every((name) => name.startsWith("type "));
}

const control = new Set(["if", "for", "while", "switch", "catch", "with", "await"]);
/** Their callback is a heading over tests, not one function. */
const suites = new Set(["describe", "suite"]);
/** Their callback has a name: the first argument. */
const tests = new Set(["test", "it"]);

interface Body {
  /** Offsets of where the function begins and its body ends. */
  start: number;
  end: number;
  /** Declared, a method or a test; not a callback in the middle of a call. */
  named: boolean;
}

/** The bodies in braces of all functions, inner ones before the ones they stand in. Callbacks of describe() are left out. */
function bodiesOf(code: string): Body[] {
  const found: Body[] = [];
  const parens: { word: string; at: number }[] = [];
  const braces: { parens: number; start: number | undefined; named: boolean }[] = [];
  let closed: { word: string; at: number; end: number } | undefined; // the last closed parenthesis

  /** Where the function begins whose body opens at `at`; undefined where that brace is no body. */
  const bodyStart = (at: number): number | undefined => {
    const before = code.slice(0, at).trimEnd();
    if (before.endsWith("=>")) return suites.has(parens.at(-1)?.word ?? "") ? undefined : (closed?.at ?? at);
    if (closed === undefined || control.has(closed.word)) return undefined;
    const between = code
      .slice(closed.end, at)
      .trim()
      .replace(/\{[^{}]*\}/g, "T");
    if (between === "") return closed.at;
    // A return type: a colon, a whole type, no statement of its own.
    return /^:[^;]*[^=:|&<,(]$/.test(between) && !/\b(?:case|return|else|default)\b/.test(between)
      ? closed.at
      : undefined;
  };

  for (let at = 0; at < code.length; at += 1) {
    const char = code[at];
    if (char === "(")
      parens.push({ word: /(\w+)\s*(?:<[^()]*>)?$/.exec(code.slice(Math.max(0, at - 80), at))?.[1] ?? "", at });
    else if (char === ")") {
      const open = parens.pop();
      if (open !== undefined) closed = { ...open, end: at + 1 };
    } else if (char === "{") {
      const named = parens.length === (braces.at(-1)?.parens ?? 0) || tests.has(parens.at(-1)?.word ?? "");
      braces.push({ parens: parens.length, start: bodyStart(at), named });
    } else if (char === "}") {
      const open = braces.pop();
      if (open?.start !== undefined) found.push({ start: open.start, end: at, named: open.named });
    }
  }
  return found;
}

/** Every function with a body in braces, and its lengths. */
export function functionsOf({ code }: Source): FunctionExtent[] {
  const bodies = bodiesOf(code).map(({ start, end, named }) => ({
    line: lineOf(code, start),
    last: lineOf(code, end),
    named,
  }));
  return bodies.map(({ line, last }, index) => {
    const lines = last - line + 1;
    const elsewhere = new Set<number>();
    for (const inner of bodies.slice(0, index)) {
      if (!inner.named || inner.line < line || inner.last > last || inner.last === inner.line) continue;
      for (let at = inner.line; at <= inner.last; at += 1) elsewhere.add(at);
    }
    return { line, lines, ownLines: lines - elsewhere.size };
  });
}
