// Masquerade as a ruleset: connections from this node's pods to elsewhere leave with the node's address.

import { hash } from "node:crypto";
import { assert } from "../../base/assert.ts";
import { type Cidr, cidrFamily } from "../../net/cidr.ts";
import {
  type MasqueradePlan,
  type PortRange,
  masqueradePortRangesMax,
  masqueradeRangesMax,
  ownTables,
} from "../contract.ts";
import type { ConstantNamedSet, Rule, Table } from "./ruleset.ts";

export const masqTableName = ownTables.masquerade;

/** Digits of a set's content in its name. What it holds is compared besides. */
const setHashLen = 10;

/**
 * The table for `plan`. Of all nat chains of one hook the first that translates decides, the rest are not asked. Ours comes after
 * priority srcnat, where kube-proxy, the portmap plugin and ip-masq-agent have theirs: what kube-proxy has marked (hairpin, node
 * ports) it translates itself and takes its mark off; nothing is translated twice.
 */
export function masqTable({ from, keep, ports, randomFully }: MasqueradePlan): Table {
  const pods = [rangesOf("pods4", "ip saddr", from), rangesOf("pods6", "ip6 saddr", from)];
  const kept = [rangesOf("kept4", "ip daddr", keep), rangesOf("kept6", "ip6 daddr", keep)];
  assert(
    from.length + keep.length <= masqueradeRangesMax,
    `at most ${masqueradeRangesMax} ranges in a masquerade plan`,
  );
  return {
    name: masqTableName,
    comment: "Fairlead masquerade",
    counters: [],
    sets: [],
    constants: [...pods, ...kept].filter(({ oneOf }) => oneOf.length > 0),
    chains: [
      {
        name: "postrouting",
        hook: { type: "nat", on: "postrouting", priority: "srcnat + 10" },
        rules: pods.flatMap((set) => matching(set, { jump: "leaving" })),
      },
      {
        name: "leaving",
        rules: [
          [{ match: "fib daddr type", is: "local" }, { verdict: "return" }],
          ...kept.flatMap((set) => matching(set, { verdict: "return" })),
          ...portRules(ports, randomFully),
          [{ masquerade: { fullyRandom: randomFully } }],
        ],
      },
    ],
  };
}

type AddressField = "ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr";

/** In one order whatever order they come in, so that equal plans are equal tables. */
function rangesOf(kind: string, key: AddressField, ranges: readonly Cidr[]): ConstantNamedSet {
  const family = key.startsWith("ip6") ? 6 : 4;
  const oneOf = [...new Set(ranges)].filter((range) => cidrFamily(range) === family).sort();
  return { name: `${kind}_${hash("sha256", oneOf.join(" ")).slice(0, setHashLen)}`, key, oneOf };
}

function matching({ name, key, oneOf }: ConstantNamedSet, then: Rule[number]): Rule[] {
  return oneOf.length === 0 ? [] : [[{ match: [key], inSet: name }, then]];
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
