// A ruleset as one typed value: what a table, its sets, chains and rules say, and the same as nft text for people.

import type { Cidr } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import type { hooks, priorities } from "./constants.ts";
import { type FieldName, fields } from "./fields.ts";

export interface Table {
  name: string;
  /** What the table is and whose; `nft list` shows it. At most 127 bytes of plain ASCII. */
  comment: string;
  counters: readonly string[];
  sets: readonly NamedSet[];
  chains: readonly Chain[];
}

/** A hash set of keys; several fields are a concatenation. */
export interface NamedSet {
  name: string;
  key: readonly FieldName[];
}

export interface Chain {
  name: string;
  /** Where packets enter it, with policy accept; absent for a chain that is only jumped to. */
  hook?: { on: keyof typeof hooks; priority: keyof typeof priorities };
  rules: readonly Rule[];
}

/** Statements from left to right; a match that fails ends the rule. */
export type Rule = readonly Statement[];

export type Statement =
  /** The fields of the packet, concatenated, are in the named set. */
  | { match: readonly FieldName[]; inSet: string }
  /** The field has one of these values: addresses and networks, or the names that nft has for them. */
  | { match: FieldName; oneOf: readonly (Ip | Cidr | string)[] }
  /** The text in the field begins so. */
  | { match: FieldName; prefix: string }
  | { count: string }
  | { jump: string }
  | { verdict: "accept" | "drop" | "return" };

/** The table as `nft -f` reads it, with no elements in its named sets. */
export function tableText({ name, comment, counters, sets, chains }: Table): string {
  const blocks = [
    [`comment "${comment}"`],
    ...counters.map((counter) => [`counter ${counter} {`, "}"]),
    ...sets.map(({ name: set, key }) => [`set ${set} {`, `\ttype ${typeText(key)}`, "}"]),
    ...chains.map((chain) => [`chain ${chain.name} {`, ...chainLines(chain).map((line) => `\t${line}`), "}"]),
  ];
  const body = blocks.map((lines) => lines.map((line) => `\t${line}\n`).join("")).join("\n");
  return `table inet ${name} {\n${body}}\n`;
}

function chainLines({ hook, rules }: Chain): string[] {
  const head = hook === undefined ? [] : [`type filter hook ${hook.on} priority ${hook.priority}; policy accept;`];
  return [...head, ...rules.map((rule) => rule.map(statementText).join(" "))];
}

function statementText(statement: Statement): string {
  if ("inSet" in statement) return `${statement.match.join(" . ")} @${statement.inSet}`;
  if ("oneOf" in statement) return `${statement.match} { ${statement.oneOf.join(", ")} }`;
  if ("prefix" in statement) return `${statement.match} "${statement.prefix}*"`;
  if ("count" in statement) return `counter name "${statement.count}"`;
  if ("jump" in statement) return `jump ${statement.jump}`;
  return statement.verdict;
}

function typeText(key: readonly FieldName[]): string {
  return key.map((name) => fields[name].typeName).join(" . ");
}
