// The source guard as `nft list ruleset` prints it, held against the text that must stand there and the pairs that it must list.

import { ipFamily } from "../../src/net/ip.ts";
import { compareTexts, type Difference, differs } from "./difference.ts";
import type { Living } from "./living.ts";
import { masqueradeTable } from "./masquerade.ts";
import { policyTable } from "./policy.ts";
import { elements, linesOf, tablesIn } from "./ruleset.ts";

const tableName = "inet fairlead";

/**
 * Written down from what `nft list table inet fairlead` prints, without the elements of its sets. Every rule by its words:
 * whatever enters by a link named fl… must come from a listed pair, or be neighbour or listener discovery that stays on the
 * link; the rest is counted and dropped before connection tracking sees it.
 */
const wantedTable = `
  comment "Fairlead source guard"
  counter spoof {
  }
  set ok4 {
    type ifname . ipv4_addr
  }
  set ok6 {
    type ifname . ipv6_addr
  }
  set any {
    type ifname
  }
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname "fl*" jump guard_pod
  }
  chain guard_pod {
    iifname . ip saddr @ok4 return
    iifname . ip6 saddr @ok6 return
    ip6 saddr { ::, fe80::/10 } ip6 daddr { fe80::/10, ff02::/16 } icmpv6 type { mld-listener-report, mld2-listener-report, nd-neighbor-advert, nd-neighbor-solicit, nd-router-solicit } return
    iifname @any return
    meta nfproto { ipv4, ipv6 } counter name "spoof" drop
  }
`;

/** `ruleset`: all tables of the node. */
export function compareGuard(living: readonly Living[], ruleset: string): Difference[] {
  const tables = tablesIn(ruleset);
  const ours = new Set([tableName, masqueradeTable, policyTable]);
  const strangers = [...tables.keys()].filter((name) => name.includes(" fairlead") && !ours.has(name));
  const body = tables.get(tableName);
  return [
    ...strangers.map((name) => differs(`nft table ${name} is there, and nobody needs it`)),
    ...(body === undefined
      ? [differs(`nft table ${tableName}, the source guard, is missing`)]
      : [...ruleDifferences(body), ...pairDifferences(body, living)]),
  ];
}

function ruleDifferences(body: string): Difference[] {
  const wanted = linesOf(wantedTable);
  // What counts and what is listed is no rule; pieces of a rule's own set come in any order.
  const held = linesOf(body.replaceAll(elements, "").replaceAll(/^\s*packets \d+ bytes \d+$/gm, ""));
  const differences = compareTexts(wanted, held, {
    missing: (line) => `the source guard lacks the line "${line}"`,
    extra: (line) => `the source guard has a line "${line}" that nobody needs`,
  });
  if (differences.length > 0 || wanted.join("\n") === held.join("\n")) return differences;
  return [differs("the lines of the source guard stand in another order")];
}

/** Each set lists its family's pairs: a pair in the wrong set is missing in one and too many in the other. */
function pairDifferences(body: string, living: readonly Living[]): Difference[] {
  const pairs = living.flatMap(({ link, addresses }) =>
    typeof link === "object"
      ? addresses.map((address) => `ok${ipFamily(address)}: "${link.host.name}" . ${address}`)
      : [],
  );
  const held = [...body.matchAll(/^\tset (\S+) \{\n([\s\S]*?)^\t\}/gm)].flatMap(([, set = "", text = ""]) =>
    [...text.matchAll(elements)].flatMap(([, list = ""]) => list.split(",").map((pair) => `${set}: ${pair.trim()}`)),
  );
  return compareTexts(pairs, held, {
    missing: (pair) => `the source guard does not list ${pair}`,
    extra: (pair) => `the source guard lists ${pair}, which nobody has`,
  });
}
