// Rules of other programs that keep packets from connection tracking: what they match is judged packet by packet, answers too.

import { type Ip, ipFromBytes } from "../../net/ip.ts";
import type { UntrackedRule } from "../contract.ts";
import { defineAttributes } from "../netlink/codec.ts";
import type { Channel } from "./channel.ts";
import { forwardFamilies, hooks, nftMessage } from "./constants.ts";
import { chainAttributes, chainsQuestion, questionOfFamily, ruleAttributes } from "./messages.ts";

/** Tables that are looked into: a node has one or two with such a chain. */
const tablesMax = 16;
/** Rules that are told. */
const toldMax = 64;
/** NF_IP_PRI_CONNTRACK: only chains before it can keep a packet from being tracked. */
const conntrackPriority = -200;

/** What expressions have in common by number: payload's base, offset and length; a comparison's way and value; a target's name and options. */
const dataAttributes = defineAttributes({
  first: { id: 1, kind: "bytes" },
  second: { id: 2, kind: "bytes" },
  third: { id: 3, kind: "bytes" },
  fourth: { id: 4, kind: "bytes" },
});
const expressionAttributes = defineAttributes({
  name: { id: 1, kind: "string" },
  data: { id: 2, kind: "nested", of: dataAttributes },
});
const ruleExpressions = defineAttributes({
  chain: { id: 2, kind: "string" },
  expressions: { id: 4, kind: "list", of: expressionAttributes },
});
type Expression = { name?: string | undefined; data?: Record<string, Uint8Array | undefined> | undefined };

/** Reads the rules of tables that have a chain before connection tracking; our own have none of these. Faults as `Channel.dump`. */
export async function readUntracked(channel: Channel): Promise<UntrackedRule[]> {
  const found: UntrackedRule[] = [];
  for (const family of ["inet", "ip", "ip6"] as const) {
    const number = forwardFamilies[family];
    const chains = await channel.dump(`read the ${family} chains`, chainsQuestion(number), chainAttributes);
    const early = chains.filter(
      ({ hook }) =>
        (hook?.number === hooks.prerouting || hook?.number === hooks.output) &&
        ((hook.priority ?? 0) | 0) < conntrackPriority,
    );
    const tables = new Set(early.map(({ table = "" }) => table));
    for (const table of [...tables].slice(0, tablesMax)) {
      const question = questionOfFamily(nftMessage.getRule, number, ruleAttributes, { table });
      const rules = await channel.dump(`read the rules of ${family} ${table}`, question, ruleExpressions);
      for (const { chain = "", expressions = [] } of rules) {
        if (expressions.some(isUntracking)) found.push({ family, table, chain, addresses: addressesOf(expressions) });
      }
    }
  }
  return found.slice(0, toldMax);
}

/** nft's own word, and those of iptables: NOTRACK, and CT with its first option. */
function isUntracking({ name, data }: Expression): boolean {
  if (name === "notrack") return true;
  if (name !== "target") return false;
  const target = Buffer.from(data?.["first"] ?? [])
    .toString("latin1")
    .replace(/\0+$/, "");
  return target === "NOTRACK" || (target === "CT" && ((data?.["third"]?.[0] ?? 0) & 1) === 1);
}

/** Bytes of an address by where it stands in its header: of IPv4 12 and 16, of IPv6 8 and 24. */
const addressLengths = new Map([
  [12, 4],
  [16, 4],
  [8, 16],
  [24, 16],
]);

/** Addresses that the rule compares a packet's with, whole and for being the same. */
function addressesOf(expressions: readonly Expression[]): Ip[] {
  return expressions.flatMap((expression, at) => {
    const next = expressions[at + 1];
    if (expression.name !== "payload" || next?.name !== "cmp") return [];
    const [base, offset] = [numberOf(expression.data?.["second"]), numberOf(expression.data?.["third"])];
    const length = base === 1 ? addressLengths.get(offset) : undefined;
    const value = next.data?.["third"];
    if (length === undefined || value === undefined || numberOf(next.data?.["second"]) !== 0) return [];
    const bytes = value.subarray(4); // within an attribute of its own
    return bytes.length === length ? [ipFromBytes(bytes)] : []; // a shorter one is that of a prefix
  });
}

const numberOf = (bytes: Uint8Array | undefined): number =>
  bytes?.length === 4 ? Buffer.from(bytes).readUInt32BE(0) : -1;
