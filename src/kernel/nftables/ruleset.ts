// A ruleset as one typed value: what a table, its sets, chains and rules say.

import type { Cidr } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import type { PortRange } from "../contract.ts";
import type { hooks, priorities } from "./constants.ts";
import type { FieldName, KeyValues } from "./fields.ts";

export interface Table {
  name: string;
  /** What the table is and whose; `nft list` shows it. At most 127 bytes of plain ASCII. */
  comment: string;
  counters: readonly string[];
  sets: readonly NamedSet[];
  constants?: readonly ConstantNamedSet[];
  maps?: readonly VerdictMap[];
  chains: readonly Chain[];
}

/** A hash set of keys; several fields are a concatenation. */
export interface NamedSet {
  name: string;
  key: readonly FieldName[];
  /** For the text alone: what a set holds changes without its table. */
  elements?: readonly KeyValues[];
  /** Filled by packets (see Statement, `share`): with so many keys at most, each kept for so long after its last packet. */
  byPackets?: { sizeMax: number; timeoutMs: number };
}

/** One whose elements are known. */
export type FilledSet = NamedSet & Required<Pick<NamedSet, "elements">>;

/** A hash map from keys to what is done with a packet. */
export interface VerdictMap {
  name: string;
  key: readonly FieldName[];
  /** Nobody can change it while a rule refers to it (see ConstantNamedSet). */
  constant: boolean;
  /** Each element counts the packets that find it. */
  counted: boolean;
  verdicts: readonly (readonly [key: KeyValues, verdict: Verdict])[];
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
  /** They are not. */
  | { match: readonly FieldName[]; notInSet: string }
  /** The named map says what is done; where the fields are not in it, nothing is. */
  | { match: readonly FieldName[]; byMap: string }
  /** The field has one of these values: addresses and networks, or the names that nft has for them. */
  | { match: FieldName; oneOf: readonly (Ip | Cidr | string)[] }
  /** What is done for each value that has this name. */
  | { match: FieldName; verdicts: Readonly<Record<string, Verdict>> }
  /** Goes on only so often for each value of these fields by itself; where the set has no room for another value, not at all. */
  | { share: { of: readonly FieldName[]; inSet: string; perSecond: number; burst: number } }
  /** An ICMP message of this family. */
  | { icmp: 4 | 6; type: number; code?: number }
  | Comparison
  | Effect;

export type Comparison =
  /** The field has this value, or the value that has this name. */
  | { match: FieldName; is: string | number }
  /** Both ends included. */
  | { match: FieldName; from: number; to: number }
  /** The bit of this name is set. */
  | { match: FieldName; has: string }
  /** Of these bits others are set than this one alone. */
  | { match: FieldName; among: readonly string[]; isNot: string }
  /** The text in the field begins so. */
  | { match: FieldName; prefix: string }
  /** The address in the field is one of this network. */
  | { match: FieldName; within: Cidr };

export type Effect =
  /** A number below `outOf`, anew for each packet, is below `below`. */
  | { random: { below: number; outOf: number } }
  | { count: string }
  /** Counts in the rule itself. */
  | { tally: true }
  /** Goes on only so often; all packets that come here share it. */
  | { limit: { perSecond: number; burst: number } }
  /** To those who listen on that nflog group: so many bytes of the packet. */
  | { log: { prefix: string; group: number; snapLen: number } }
  /** Of TCP only. */
  | { reject: "tcp reset" }
  | { masquerade: MasqueradeStatement }
  | Verdict;

/** "goto" does not come back to this chain but to where the last jump was made. */
export type Verdict = { verdict: "accept" | "drop" | "return" } | { jump: string } | { goto: string };

/** The connection leaves with an address of the link that it leaves by; `ports` only behind a match of protocols that have some. */
export interface MasqueradeStatement {
  ports?: PortRange;
  fullyRandom: boolean;
}
