// A thing that is wrong in a cluster: what it is about, since when, in which words, with which cure.

import { clip } from "../../cni/quote.ts";
import { formatTable } from "../../base/table.ts";
import { formatAge } from "../age.ts";

export interface Finding {
  /** "warn": worth a look, pods are not cut off by it. */
  state: "bad" | "warn";
  /** A stable word for programs; docs/cli.md lists them. */
  code: string;
  /** The node that it is about; absent where it is about the whole cluster. */
  node?: string;
  /** "NodeNetwork node-1", "Pod shop/web-0". */
  object: string;
  /** RFC 3339, where an object tells. */
  since?: string;
  says: string;
  cure: string;
}

/** Findings that one look lists; beyond these they are counted. */
export const findingsShownMax = 100;
/** Longest sentence taken out of an object. */
const wordsLenMax = 500;

/** Foreign words inside a finding: bounded, and nothing in them that a terminal would obey. */
export const foreign = (text: string): string => clip(text, wordsLenMax);

/** The bad ones first, then by node and code: the same order whatever the server's. */
export function sortFindings(findings: readonly Finding[]): Finding[] {
  return findings.toSorted((a, b) => {
    const [left, right] = [a, b].map(({ state, node = "", code, object }) =>
      [state === "bad" ? "0" : "1", node, code, object].join("\n"),
    );
    return (left ?? "") < (right ?? "") ? -1 : 1;
  });
}

/**
 * Those of `later` that stood in `earlier` too. Objects are read one kind after the other while the cluster changes: what two looks
 * agree on is no accident of that.
 */
export function standing(earlier: readonly Finding[], later: readonly Finding[]): Finding[] {
  const seen = new Set(earlier.map(keyOf));
  return later.filter((finding) => seen.has(keyOf(finding)));
}

const keyOf = ({ code, node = "", object }: Finding): string => JSON.stringify([code, node, object]);

/** Whole seconds since an object's time; undefined where it is no time. */
export function secondsSince(time: string | undefined, nowMs: number): number | undefined {
  const then = time === undefined ? Number.NaN : Date.parse(time);
  return Number.isNaN(then) ? undefined : (nowMs - then) / 1000;
}

/** "3h20m", or "-" where it is not known. */
export function ageShown(time: string | undefined, nowMs: number): string {
  const seconds = secondsSince(time, nowMs);
  return seconds === undefined ? "-" : formatAge(seconds);
}

/** The table of findings, each with its cure in the line below it. */
export function findingsTable(findings: readonly Finding[], nowMs: number): string {
  const shown = findings.slice(0, findingsShownMax);
  const rows = shown.flatMap(({ state, node = "-", since, object, says, cure }) => [
    [state === "bad" ? "BAD" : "warning", node, ageShown(since, nowMs), `${object}: ${says}`],
    ["", "", "", `cure: ${cure}`],
  ]);
  const more = findings.length - shown.length;
  return `${formatTable(["STATE", "NODE", "SINCE", "WHAT"], rows)}${more > 0 ? `\nand ${more} more; -o json has them all` : ""}`;
}
