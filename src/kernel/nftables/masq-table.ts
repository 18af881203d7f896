// Masquerade as a ruleset: connections from this node's pods to elsewhere leave with the node's address.

import { assert } from "../../base/assert.ts";
import { type Cidr, cidrFamily } from "../../net/cidr.ts";
import { type MasqueradePlan, type PortRange, masqueradePortRangesMax, masqueradeRangesMax } from "../contract.ts";
import type { Rule, Table } from "./ruleset.ts";

export const masqTableName = "fairlead-masq";

/**
 * The table for `plan`. Of all nat chains of one hook the first that translates decides, the rest are not asked. Ours comes after
 * priority srcnat, where kube-proxy, the portmap plugin and ip-masq-agent have theirs: what kube-proxy has marked (hairpin, node
 * ports) it translates itself and takes its mark off; nothing is translated twice.
 */
export function masqTable({ from, keep, ports, randomFully }: MasqueradePlan): Table {
  assert(
    from.length + keep.length <= masqueradeRangesMax,
    `at most ${masqueradeRangesMax} ranges in a masquerade plan`,
  );
  return {
    name: masqTableName,
    comment: "Fairlead masquerade",
    counters: [],
    sets: [],
    chains: [
      {
        name: "postrouting",
        hook: { type: "nat", on: "postrouting", priority: "srcnat + 10" },
        rules: [
          ...matching("ip saddr", ofFamily(from, 4), { jump: "leaving" }),
          ...matching("ip6 saddr", ofFamily(from, 6), { jump: "leaving" }),
        ],
      },
      {
        name: "leaving",
        rules: [
          [{ match: "fib daddr type", is: "local" }, { verdict: "return" }],
          ...matching("ip daddr", ofFamily(keep, 4), { verdict: "return" }),
          ...matching("ip6 daddr", ofFamily(keep, 6), { verdict: "return" }),
          ...portRules(ports, randomFully),
          [{ masquerade: { fullyRandom: randomFully } }],
        ],
      },
    ],
  };
}

/** In one order whatever order they come in, so that equal plans are equal tables. */
function ofFamily(ranges: readonly Cidr[], family: 4 | 6): Cidr[] {
  return [...new Set(ranges)].filter((range) => cidrFamily(range) === family).sort();
}

function matching(
  match: "ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr",
  oneOf: Cidr[],
  then: Rule[number],
): Rule[] {
  return oneOf.length === 0 ? [] : [[{ match, oneOf }, then]];
}

/** Each range takes its share of what the ranges before it have left, so that every port is as likely as any other. */
function portRules(ports: readonly PortRange[], fullyRandom: boolean): Rule[] {
  assert(ports.length <= masqueradePortRangesMax, `at most ${masqueradePortRangesMax} ranges of ports`);
  for (const { first, last } of ports) assert(first >= 1 && first <= last && last <= 65_535, `ports ${first}-${last}`);
  return ports.map((range, index): Rule => {
    const outOf = ports.slice(index).reduce((sum, { first, last }) => sum + last - first + 1, 0);
    const below = range.last - range.first + 1;
    return [
      { match: "meta l4proto", oneOf: ["tcp", "udp", "sctp"] },
      ...(below === outOf ? [] : [{ random: { below, outOf } }]),
      { masquerade: { ports: range, fullyRandom } },
    ];
  });
}
