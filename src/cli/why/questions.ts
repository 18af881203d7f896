// Files of questions: FROM TO PORT/PROTOCOL [allow|deny], one a line, with comments.

import { Fault } from "../../base/fault.ts";
import { quote } from "../../cni/quote.ts";
import { readText } from "./read-text.ts";

const questionsMax = 100_000;
const form = "write FROM TO PORT/PROTOCOL [allow|deny]";

export type Expected = "allow" | "deny";

export interface Question {
  from: string;
  to: string;
  /** PORT, PORT/PROTOCOL, a port's name, icmp; absent: the target's named ports, and icmp. */
  traffic?: string;
  expect?: Expected;
  /** Of the file, from 1; absent where it is the only question. */
  line?: number;
}

/** A line that asks something. */
export interface Line {
  line: number;
  /** Without its comment. */
  text: string;
}

/**
 * The lines of `file` that ask something; "-" is stdin.
 * @throws Fault "not-found" where it cannot be read, or asks nothing: a job that tests nothing must not pass for one that finds all well
 */
export function linesOf(file: string): Line[] {
  const title = file === "-" ? "stdin" : file;
  const read = readText(file === "-" ? 0 : file, `the file of questions ${title}`, "name one, or - for stdin");
  const lines = read.split("\n").flatMap((written, index): Line[] => {
    const text = written.replace(/(?:^|\s)#.*$/, "").trim();
    return text === "" ? [] : [{ line: index + 1, text }];
  });
  if (lines.length === 0) throw new Fault("not-found", `no question in ${title}; ${form}, one a line`);
  if (lines.length > questionsMax) throw new Fault("unsupported-value", `at most ${questionsMax} questions at once`);
  return lines;
}

/** Reads one; `common` is expected where it does not say. @throws Fault "unsupported-value" where it is not of the form */
export function readQuestion({ line, text }: Line, common: Expected | undefined): Question {
  const [from = "", to, traffic, own, ...more] = text.split(/\s+/);
  const isExpected = own === undefined || own === "allow" || own === "deny";
  if (to === undefined || traffic === undefined || more.length > 0 || !isExpected)
    throw new Fault("unsupported-value", `${quote(text)}: ${form}`);
  const expect = own ?? common;
  return { from, to, traffic, ...(expect === undefined ? {} : { expect }), line };
}
