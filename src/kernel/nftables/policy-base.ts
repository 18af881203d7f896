// What the policy table holds whatever the policies are: where packets enter, how a link's class is looked up, and where they end.

import { ipFamily } from "../../net/ip.ts";
import { openClass } from "../../policy/compile-classes.ts";
import { metadataCounter, midstream, resets, unknownClass } from "../../policy/counters.ts";
import { credentialsPort, metadataAddresses } from "../../policy/metadata.ts";
import { classNumbers, ownTables } from "../contract.ts";
import { snapLenBytes } from "../flow-log-contract.ts";
import type { Chain, FilledSet, NamedSet, Rule, Statement, VerdictMap } from "./ruleset.ts";

export const policyTableName = ownTables.policy;
export const policyComment = "Fairlead policy";

/** What is done for each class of the link by which a packet came, or goes; and for what pods send to their node. */
export const classMaps = { egress: "egress_classes", ingress: "ingress_classes", toNode: "node_classes" } as const;

export type ClassMap = keyof typeof classMaps;

/** Pairs of a host link with itself: what a pod sends to itself through a service. No layer is asked, so none counts it. */
export const selfSetName = "self";
export const selfSetKey: NamedSet["key"] = ["iifname", "oifname"];
export const selfSet = (links: Iterable<string>): FilledSet => ({
  name: selfSetName,
  key: selfSetKey,
  elements: Array.from(links, (link) => [link, link]),
});

/** Where denied packets end; where those end that a layer on probation would deny: there it comes back and they pass. */
export const [deny, audit] = ["deny", "audit"];

export const classMap = (of: ClassMap, verdicts: VerdictMap["verdicts"]): VerdictMap => ({
  name: classMaps[of],
  key: [of === "ingress" ? "oifgroup" : "iifgroup"],
  constant: false,
  counted: false,
  verdicts,
});

/** Logged packets are on this nflog group; so much of each, enough for headers. */
export const logged = { group: 5, snapLen: snapLenBytes };
/** What their log entries begin with. */
export const logPrefixes = { deny: "deny ", audit: "audit " } as const;
/** Of denied packets, and of audited ones. */
export const loggedPerSecond = 100;
const [logLimit, resetLimit] = [
  { perSecond: loggedPerSecond, burst: loggedPerSecond },
  { perSecond: 200, burst: 200 },
];

const tracked: Rule = [
  { match: "ct state", verdicts: { established: { verdict: "accept" }, related: { verdict: "accept" } } },
];
const judged = (link: "iifgroup" | "oifgroup", then: Statement): Rule => [
  { match: link, from: classNumbers.first, to: classNumbers.last },
  then,
];
const lookedUp = (of: ClassMap): Rule[] => [
  [{ match: [of === "ingress" ? "oifgroup" : "iifgroup"], byMap: classMaps[of] }],
  [{ count: unknownClass }, { verdict: "drop" }],
];
/** Of each pair of links by itself, so that one pod's flood leaves room for what others are denied. */
export const loggedOfPair = { perSecond: 20, burst: 50 };
/** Of all pairs together that found no room among the shares. */
export const loggedWithoutShare = { perSecond: 20, burst: 20 };
export const logSharesName = "log_shares";
export const logSharesMax = 4096;
export const logShares: NamedSet = {
  name: logSharesName,
  key: selfSetKey,
  byPackets: { sizeMax: logSharesMax, timeoutMs: 10_000 },
};
/** A pair that is in the set after the first rule has a share, and had what is left of it. */
const logs = (prefix: string): Rule[] => [
  [
    { share: { of: selfSetKey, inSet: logSharesName, ...loggedOfPair } },
    { limit: logLimit },
    { log: { prefix, ...logged } },
  ],
  [{ match: selfSetKey, notInSet: logSharesName }, { limit: loggedWithoutShare }, { log: { prefix, ...logged } }],
];

/**
 * At priority filter, packets have the pod's address as destination (after translation) and the caller's as source (before masquerade).
 * A segment that belongs to no known connection would let the wrong side begin one: it is answered by a reset, where the kernel
 * takes it for new. One that it takes for invalid is not: a stale duplicate could end a living connection.
 */
export const baseChains: readonly Chain[] = [
  {
    name: "forward",
    hook: { on: "forward", priority: "filter" },
    rules: [
      tracked,
      [
        { match: "meta l4proto", is: "tcp" },
        { match: "tcp flags", among: ["fin", "syn", "rst", "ack"], isNot: "syn" },
        { goto: "mid" },
      ],
      judged("iifgroup", { jump: "from_pod" }),
      judged("oifgroup", { jump: "to_pod" }),
    ],
  },
  {
    name: "from_pod",
    rules: [[{ match: selfSetKey, inSet: selfSetName }, { verdict: "accept" }], ...lookedUp("egress")],
  },
  { name: "to_pod", rules: lookedUp("ingress") },
  { name: "mid", rules: [judged("iifgroup", { goto: "refuse" }), judged("oifgroup", { goto: "refuse" })] },
  {
    name: "refuse",
    rules: [
      [{ count: midstream }],
      [
        { match: "meta l4proto", is: "tcp" },
        { match: "ct state", has: "new" },
        { limit: resetLimit },
        { count: resets },
        { reject: "tcp reset" },
      ],
      [{ verdict: "drop" }],
    ],
  },
  { name: deny, rules: [...logs(logPrefixes.deny), [{ verdict: "drop" }]] },
  { name: audit, rules: [...logs(logPrefixes.audit), [{ verdict: "return" }]] },
];

/** Loaded where credentials of the metadata address are closed: to every pod, those that nothing else judges (the open class) too. */
export const metadataChains: readonly Chain[] = [
  {
    name: "metadata",
    hook: { on: "forward", priority: "filter" },
    rules: [tracked, ...([4, 6] as const).map(closedCredentials)],
  },
];

function closedCredentials(family: 4 | 6): Rule {
  return [
    { match: "iifgroup", from: openClass, to: classNumbers.last },
    { match: "meta l4proto", is: "tcp" },
    { match: "th dport", is: credentialsPort },
    {
      match: family === 4 ? "ip daddr" : "ip6 daddr",
      oneOf: metadataAddresses.filter((address) => ipFamily(address) === family),
    },
    { count: metadataCounter },
    { goto: deny },
  ];
}

/** Loaded where a class judges what pods send to their node. Without neighbour discovery a pod would lose its gateway. */
export const inputChains: readonly Chain[] = [
  {
    name: "input",
    hook: { on: "input", priority: "filter" },
    rules: [tracked, judged("iifgroup", { jump: "to_node" })],
  },
  {
    name: "to_node",
    rules: [
      [
        { match: "icmpv6 type", oneOf: ["nd-neighbor-solicit", "nd-neighbor-advert", "nd-router-solicit"] },
        { verdict: "accept" },
      ],
      ...lookedUp("toNode"),
    ],
  },
];
