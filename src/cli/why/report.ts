// What `fairlead why` tells people: each family's four judgements, what nearly allowed the traffic, and what would have to change. Pure.

import { formatTable } from "../../base/table.ts";
import type { Problem } from "../../policy/problem.ts";
import { foreign } from "../cluster/finding.ts";
import type { WhyAnswer, WhyJudgement } from "./answer.ts";

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
  const shown = problems
    .slice(0, problemsShownMax)
    .map(({ object, path, message }) => `  ${object}: ${path}: ${foreign(message)}`);
  const more = problems.length - shown.length;
  return ["not all that was written counts:", ...shown, ...(more > 0 ? [`  and ${more} more`] : [])].join("\n");
}
