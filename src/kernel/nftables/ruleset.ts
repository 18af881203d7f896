// A ruleset as one typed value: what a table, its sets, chains and rules say, and the same as nft text for people.

import type { Cidr } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import type { PortRange } from "../contract.ts";
import type { hooks, priorities } from "./constants.ts";
import { type FieldName, constantElements, fields } from "./fields.ts";

export interface Table {
  name: string;
  /** What the table is and whose; `nft list` shows it. At most 127 bytes of plain ASCII. */
  comment: string;
  counters: readonly string[];
  sets: readonly NamedSet[];
  constants?: readonly ConstantNamedSet[];
  chains: readonly Chain[];
}

/** A hash set of keys; several fields are a concatenation. */
export interface NamedSet {
  name: string;
  key: readonly FieldName[];
}

/**
 * A set that nobody can change while a rule refers to it. Another content is another set, so its name tells of what it holds.
 * It is in the kernel before any rule that refers to it: from Linux 6.18 on a set of intervals is empty for some 0.2 ms after the
 * batch that makes it, and a rule of that batch would find nothing in it.
 */
export interface ConstantNamedSet {
  name: string;
  key: FieldName;
  oneOf: readonly (Ip | Cidr)[];
}

export interface Chain {
  name: string;
  /** Where packets enter it, with policy accept; absent for a chain that is only jumped to. */
  hook?: { type?: ChainType; on: keyof typeof hooks; priority: keyof typeof priorities };
  rules: readonly Rule[];
}

/** What a chain with a hook may do; "filter" if absent. A "nat" chain sees the first packet of each connection only. */
export type ChainType = "filter" | "nat";

/** Statements from left to right; a match that fails ends the rule. */
export type Rule = readonly Statement[];

export type Statement =
  /** The fields of the packet, concatenated, are in the named set. */
  | { match: readonly FieldName[]; inSet: string }
  /** The field has one of these values: addresses and networks, or the names that nft has for them. */
  | { match: FieldName; oneOf: readonly (Ip | Cidr | string)[] }
  /** The field has the value that has this name. */
  | { match: FieldName; is: string }
  /** The text in the field begins so. */
  | { match: FieldName; prefix: string }
  /** A number below `outOf`, anew for each packet, is below `below`. */
  | { random: { below: number; outOf: number } }
  | { count: string }
  | { jump: string }
  | { verdict: "accept" | "drop" | "return" }
  | { masquerade: MasqueradeStatement };

/** The connection leaves with an address of the link that it leaves by; `ports` only behind a match of protocols that have some. */
export interface MasqueradeStatement {
  ports?: PortRange;
  fullyRandom: boolean;
}

/** The table as `nft -f` reads it, with no elements in its named sets but the constant ones. */
export function tableText({ name, comment, counters, sets, constants = [], chains }: Table): string {
  const blocks = [
    [`comment "${comment}"`],
    ...counters.map((counter) => [`counter ${counter} {`, "}"]),
    ...sets.map(({ name: set, key }) => [`set ${set} {`, `\ttype ${typeText(key)}`, "}"]),
    ...constants.map(constantLines),
    ...chains.map((chain) => [`chain ${chain.name} {`, ...chainLines(chain).map((line) => `\t${line}`), "}"]),
  ];
  const body = blocks.map((lines) => lines.map((line) => `\t${line}\n`).join("")).join("\n");
  return `table inet ${name} {\n${body}}\n`;
}

function constantLines({ name, key, oneOf }: ConstantNamedSet): string[] {
  const flags = constantElements(fields[key], oneOf).interval ? "constant,interval" : "constant";
  const body = [`type ${fields[key].typeName}`, `flags ${flags}`, `elements = { ${oneOf.join(", ")} }`];
  return [`set ${name} {`, ...body.map((line) => `\t${line}`), "}"];
}

function chainLines({ hook, rules }: Chain): string[] {
  const head =
    hook === undefined
      ? []
      : [`type ${hook.type ?? "filter"} hook ${hook.on} priority ${hook.priority}; policy accept;`];
  return [...head, ...rules.map((rule) => rule.map(statementText).join(" "))];
}

function statementText(statement: Statement): string {
  if ("inSet" in statement) return `${statement.match.join(" . ")} @${statement.inSet}`;
  if ("oneOf" in statement) return `${statement.match} { ${statement.oneOf.join(", ")} }`;
  if ("is" in statement) return `${statement.match} ${statement.is}`;
  if ("random" in statement) return `numgen random mod ${statement.random.outOf} < ${statement.random.below}`;
  if ("masquerade" in statement) return masqueradeText(statement.masquerade);
  if ("prefix" in statement) return `${statement.match} "${statement.prefix}*"`;
  if ("count" in statement) return `counter name "${statement.count}"`;
  if ("jump" in statement) return `jump ${statement.jump}`;
  return statement.verdict;
}

function masqueradeText({ ports, fullyRandom }: MasqueradeStatement): string {
  const to =
    ports === undefined ? "" : ` to :${ports.first === ports.last ? ports.first : `${ports.first}-${ports.last}`}`;
  return `masquerade${to}${fullyRandom ? " fully-random" : ""}`;
}

function typeText(key: readonly FieldName[]): string {
  return key.map((name) => fields[name].typeName).join(" . ");
}
