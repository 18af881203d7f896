// The policy table as `nft list ruleset` prints it: what it holds whatever the policies are, the classes of links, and what it knows of links.

import { compareTexts, type Difference, differs } from "./difference.ts";
import type { Living } from "./living.ts";
import { elements, linesOf, tablesIn } from "./ruleset.ts";
import type { SeenLink } from "./seen.ts";

export const policyTable = "inet fairlead-policy";

/** Links of pods that no policy is about; greater ones, up to 65535, are classes. */
export const openGroup = 100;

/** The chains that packets come in by, and where those end that are denied. Layers and classes hang on the two maps. */
const wantedChains = `
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state vmap { established : accept, related : accept }
    tcp flags != syn / fin,syn,rst,ack goto mid
    iifgroup 101-65535 jump from_pod
    oifgroup 101-65535 jump to_pod
  }
  chain from_pod {
    iifname . oifname @self accept
    iifgroup vmap @egress_classes
    counter name "unknown_class" drop
  }
  chain to_pod {
    oifgroup vmap @ingress_classes
    counter name "unknown_class" drop
  }
  chain mid {
    iifgroup 101-65535 goto refuse
    oifgroup 101-65535 goto refuse
  }
  chain refuse {
    counter name "midstream"
    meta l4proto tcp ct state new limit rate 200/second burst 200 packets counter name "resets" reject with tcp reset
    drop
  }
  chain deny {
    update @log_shares { iifname . oifname limit rate 20/second burst 50 packets } limit rate 100/second burst 100 packets log prefix "deny " group 5 snaplen 128
    iifname . oifname != @log_shares limit rate 20/second burst 20 packets log prefix "deny " group 5 snaplen 128
    drop
  }
  chain audit {
    update @log_shares { iifname . oifname limit rate 20/second burst 50 packets } limit rate 100/second burst 100 packets log prefix "audit " group 5 snaplen 128
    iifname . oifname != @log_shares limit rate 20/second burst 20 packets log prefix "audit " group 5 snaplen 128
    return
  }
`;

/** Only where a class judges what pods send to their node. */
const wantedInput = `
  chain input {
    type filter hook input priority filter; policy accept;
    ct state vmap { established : accept, related : accept }
    iifgroup 101-65535 jump to_node
  }
  chain to_node {
    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept
    iifgroup vmap @node_classes
    counter name "unknown_class" drop
  }
`;

/** What is wrong with the group of a pod's link; undefined where it is open, or of a class that both maps know. */
export function groupDifference(group: number, ruleset: string): string | undefined {
  if (group === openGroup) return undefined;
  const body = tablesIn(ruleset).get(policyTable);
  if (group < openGroup || body === undefined) return `is in group ${group}, not ${openGroup}`;
  const lacking = ["egress_classes", "ingress_classes"].filter((map) => !classesIn(body, map).has(group));
  return lacking.length === 0 ? undefined : `is in group ${group}, which ${lacking.join(" and ")} do not know`;
}

/** Nodes without policy need no table. `links`: the node's, with their groups. */
export function comparePolicy(
  living: readonly Living[],
  { links, ruleset, agentRuns }: { links: readonly SeenLink[]; ruleset: string; agentRuns: boolean },
): Difference[] {
  const body = tablesIn(ruleset).get(policyTable);
  if (body === undefined) return [];
  const chains = chainsIn(body);
  const wanted = chainsIn(wantedChains + (chains.has("input") || chains.has("to_node") ? wantedInput : ""));
  return [
    ...[...wanted].flatMap(([name, text]) => {
      const held = chains.get(name);
      if (held === undefined) return [differs(`the policy table lacks the chain ${name}`)];
      return held === text ? [] : [differs(`the chain ${name} of the policy table is another: ${held}`)];
    }),
    // The links of pods that came or went a moment ago are told to the table a moment later.
    ...selfDifferences(living, links, body).map(({ what }) => ({ what, mayPass: agentRuns })),
  ];
}

/** Each chain by its name: its lines, joined. */
function chainsIn(text: string): Map<string, string> {
  const chains = text.matchAll(/^\s*chain (\S+) \{\n([\s\S]*?)^\s*\}$/gm);
  return new Map([...chains].map(([, name = "", lines = ""]) => [name, linesOf(lines).join("; ")]));
}

/** The group numbers that a map has a verdict for. */
function classesIn(body: string, map: string): Set<number> {
  const text = setText(body, map);
  return new Set([...text.matchAll(/(\d+) : /g)].map(([, group]) => Number(group)));
}

/** Every link of a class is listed with itself, and nothing is listed that is no pod's link. */
function selfDifferences(living: readonly Living[], links: readonly SeenLink[], body: string): Difference[] {
  const held = [...setText(body, "self").matchAll(/"([^"]*)" \. "([^"]*)"/g)].map(([pair]) => pair);
  const pods = new Set(living.flatMap(({ link }) => (typeof link === "object" ? [pairOf(link.host.name)] : [])));
  const inClass = links.filter(({ group }) => group > openGroup).map(({ name }) => pairOf(name));
  const wanted = inClass.filter((pair) => pods.has(pair));
  return compareTexts(
    wanted,
    held.filter((pair) => wanted.includes(pair) || !pods.has(pair)),
    {
      missing: (pair) => `the policy table does not list ${pair}: that pod does not reach itself through a service`,
      extra: (pair) => `the policy table lists ${pair}, which is no pod's link`,
    },
  );
}

const pairOf = (link: string): string => `"${link}" . "${link}"`;

/** The elements of a set or map, as nft prints them. */
function setText(body: string, name: string): string {
  const [, lines = ""] = new RegExp(`^\\t(?:set|map) ${name} \\{\\n([\\s\\S]*?)^\\t\\}`, "m").exec(body) ?? [];
  return [...lines.matchAll(elements)].map(([, list = ""]) => list).join();
}
