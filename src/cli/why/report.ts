// What `fairlead why` tells people: each family's four judgements, what nearly allowed the traffic, and what would have to change. Pure.

import { formatTable } from "../../base/table.ts";
import type { Problem } from "../../policy/problem.ts";
import { foreign } from "../cluster/finding.ts";
import type { WhyAnswer, WhyJudgement } from "./answer.ts";
import type { Question } from "./questions.ts";

/** Objects that do not count in full, told after an answer; the rest is counted. */
const problemsShownMax = 10;

/** Both families of one question; the second is told in a word where it is as the first. */
export function answersText(answers: readonly WhyAnswer[]): string {
  const [first, ...others] = answers;
  if (first === undefined) return "";
  const head = `${first.from} -> ${first.to}, ${trafficText(first)}`;
  const blocks = [first, ...others].map((one, index) =>
    index > 0 && isSame(one, first) ? `${lineOf(one)}, for the same reasons` : blockOf(one),
  );
  return [head, "", ...blocks, ...(first.notes ?? []).map((note) => `  note: ${foreign(note)}`)].join("\n");
}

/** "icmp" for both families: an echo request. */
export function trafficText({ protocol, port }: WhyAnswer): string {
  return port === undefined ? "icmp echo" : `${protocol} ${port}`;
}

function lineOf({ family, source, destination, passes }: WhyAnswer): string {
  return `IPv${family} ${source} -> ${destination}: ${passes ? "passes" : "does NOT pass"}`;
}

/** By what decides, not by what is said, which has addresses in it. */
function isSame(a: WhyAnswer, b: WhyAnswer): boolean {
  const key = ({ passes, always, judgements }: WhyAnswer): string =>
    JSON.stringify([passes, always, judgements.map(({ outcome, object, rule }) => [outcome, object, rule])]);
  return key(a) === key(b);
}

function blockOf(answer: WhyAnswer): string {
  const { always, judgements } = answer;
  if (always !== undefined) return `${lineOf(answer)}: ${always}`;
  const rows = judgements.map(({ judgement, node = "-", outcome, object = "-", says }) => [
    `  ${judgement}`,
    node,
    outcome === "denied" ? "DENIED" : outcome,
    object,
    says,
  ]);
  const table = formatTable(["  JUDGEMENT", "ON", "OUTCOME", "BY", "WHY"], rows);
  return [lineOf(answer), table, ...judgements.flatMap(adviceOn)].join("\n");
}

function adviceOn({ judgement, outcome, near, cures }: WhyJudgement): string[] {
  if (outcome !== "denied" && outcome !== "audited") return [];
  return [
    ...near.map((one) => `  nearly: ${foreign(one)}`),
    `  to pass ${judgement}, one of:`,
    ...cures.map((one) => `    - ${foreign(one)}`),
  ];
}

/** Objects that do not count in full; "" where all do. */
export function problemsText(problems: readonly Problem[]): string {
  if (problems.length === 0) return "";
  const shown = problems.slice(0, problemsShownMax).map((one) => `  ${problemText(one)}`);
  const more = problems.length - shown.length;
  return [`${uncountedWords}:`, ...shown, ...(more > 0 ? [`  and ${more} more`] : [])].join("\n");
}

const uncountedWords = "not all that was written counts";

const problemText = ({ object, path, message }: Problem): string => `${object}: ${path}: ${foreign(message)}`;

/** All of them, a line each. */
export const problemLines = (problems: readonly Problem[]): string[] =>
  problems.map((one) => `${uncountedWords}: ${problemText(one)}`);

/** An answer that is another than was expected, and to which question. */
export function wrongText({ line, expect = "allow" }: Question, answer: WhyAnswer): string {
  const { from, to, family, passes } = answer;
  const where = line === undefined ? "" : `line ${line}: `;
  const got = passes ? "allow" : "deny";
  return `NOT as expected: ${where}${from} -> ${to}, ${trafficText(answer)} over IPv${family}: expected ${expect}, got ${got}`;
}

/** Questions of a file. */
export interface Counts {
  /** With an expectation, and of these with another answer. */
  expected: number;
  wrong: number;
  /** Without an expectation. */
  free: number;
  unanswered: number;
  /** Problems of objects that keep expectations from being worth something. */
  uncounted: number;
}

/** The last line about a file of questions: "1 of 3 questions not as expected". */
export function summaryText({ expected, wrong, free, unanswered, uncounted }: Counts): string {
  const parts = [
    ...(expected > 0 ? [`${wrong} of ${expected} questions not as expected`] : []),
    ...(free > 0 ? [`of ${free} nothing was expected`] : []),
    ...(unanswered > 0 ? [`${unanswered} could not be answered`] : []),
    ...(uncounted > 0 ? [uncountedWords] : []),
  ];
  return parts.join("; ");
}
