// The source guard as a ruleset: what enters by a host link of ours must come from an address listed for that link.

import { ownTables } from "../contract.ts";
import type { Table } from "./ruleset.ts";

/** Host ends of pods are named so, and nothing else on the node may be; the guard sees only such links. */
export const hostLinkPrefix = "fl";

/** Allowed (link, source address) pairs, by family, and links that may send from any address. */
export const guardSets = { 4: "ok4", 6: "ok6", any: "any" } as const;

/** Counts what the guard dropped. */
export const guardCounter = "spoof";

/**
 * At priority raw a forged packet is dropped before connection tracking sees it. Neighbour and listener discovery must pass,
 * since it comes from link-local and unspecified addresses that no list holds; it never leaves the link.
 */
export const guardTable: Table = {
  name: ownTables.guard,
  comment: "Fairlead source guard",
  counters: [guardCounter],
  sets: [
    { name: guardSets[4], key: ["iifname", "ip saddr"] },
    { name: guardSets[6], key: ["iifname", "ip6 saddr"] },
    { name: guardSets.any, key: ["iifname"] },
  ],
  chains: [
    {
      name: "guard",
      hook: { on: "prerouting", priority: "raw" },
      rules: [[{ match: "iifname", prefix: hostLinkPrefix }, { jump: "guard_pod" }]],
    },
    {
      name: "guard_pod",
      rules: [
        [{ match: ["iifname", "ip saddr"], inSet: guardSets[4] }, { verdict: "return" }],
        [{ match: ["iifname", "ip6 saddr"], inSet: guardSets[6] }, { verdict: "return" }],
        [
          { match: "ip6 saddr", oneOf: ["fe80::/10", "::"] },
          { match: "ip6 daddr", oneOf: ["fe80::/10", "ff02::/16"] },
          {
            match: "icmpv6 type",
            oneOf: [
              "nd-neighbor-solicit",
              "nd-neighbor-advert",
              "nd-router-solicit",
              "mld-listener-report",
              "mld2-listener-report",
            ],
          },
          { verdict: "return" },
        ],
        [{ match: ["iifname"], inSet: guardSets.any }, { verdict: "return" }],
        [{ match: "meta nfproto", oneOf: ["ipv4", "ipv6"] }, { count: guardCounter }, { verdict: "drop" }],
      ],
    },
  ],
};
