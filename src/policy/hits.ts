// From what a layer's lookups have counted to what each of its rules has let begin: pure. One lookup can stand for several rules.

import { expandedPortsMax } from "./compile-layer.ts";
import { memberSetKind } from "./compile-sets.ts";
import type { Layer, PortMatch, Rule } from "./model.ts";
import type { LayerChains, LookupCounts, PeerTest, RestRule } from "./ruleset.ts";

/** Packets that began connections by a rule: at least and at most. They differ where its lookups are not its alone. */
export interface Hits {
  min: number;
  max: number;
}

export const noHits: Hits = { min: 0, max: 0 };

export const addHits = (a: Hits, b: Hits): Hits => ({ min: a.min + b.min, max: a.max + b.max });

/** Equal for rules of one object that say the same, wherever they stand: it outlives an edit of the others. */
export function ruleKey({ from, ports, peers }: Rule): string {
  return JSON.stringify([from.replace(/ \d+$/, ""), ports, peers]);
}

/** What each rule of `layer` has let begin, in their order. `chains` is what the layer became, `counts` what that has counted. */
export function ruleHits({ rules }: Pick<Layer, "rules">, chains: LayerChains, counts: LookupCounts): Hits[] {
  const hits = rules.map(() => noHits);
  const credit = (to: readonly number[], { min, max }: Hits): void => {
    for (const index of to) hits[index] = addHits(hits[index] ?? noHits, { min: to.length === 1 ? min : 0, max });
  };
  const saying = rulesByMatch(rules);
  const lists = listSums(chains, counts);
  for (const [at, { protocol, port, peers }] of chains.ports.entries()) {
    const arrived = counts.ports[at] ?? 0;
    const about = saying(portText(protocol, port));
    if (peers === "any") {
      credit(about, { min: arrived, max: arrived });
      continue;
    }
    const { tests, allowed, elsewhere, denied } = listOf(lists, peers, arrived);
    const byRules = new Map<string, { to: number[]; packets: number }>();
    for (const [index, test] of tests.entries()) {
      const to = about.filter((rule) => covers(rules[rule], test, tests));
      const one = byRules.get(to.join()) ?? { to, packets: 0 };
      one.packets += allowed[index] ?? 0;
      byRules.set(to.join(), one);
    }
    const all = sum(allowed);
    for (const { to, packets } of byRules.values()) {
      // What came by this port and by no other rule's tests; what these tests allowed and did not come by another port.
      const min = Math.max(0, arrived - denied - (all - packets), packets - elsewhere);
      credit(to, { min, max: Math.min(arrived, packets) });
    }
  }
  for (const [at, rule] of chains.rest.entries()) {
    const packets = counts.rest[at] ?? 0;
    credit(restRules(rules, rule, chains), { min: packets, max: packets });
  }
  return hits.map(({ min, max }) => ({ min: Math.min(min, max), max }));
}

interface ListSums {
  tests: readonly PeerTest[];
  allowed: readonly number[];
  /** Packets that came to it by all ports. */
  arrived: number;
}

function listSums({ ports, peerLists }: LayerChains, counts: LookupCounts): ListSums[] {
  const arrived = peerLists.map(() => 0);
  for (const [at, { peers }] of ports.entries()) {
    if (peers !== "any") arrived[peers] = (arrived[peers] ?? 0) + (counts.ports[at] ?? 0);
  }
  return peerLists.map((tests, index) => ({
    tests,
    allowed: counts.peerLists[index] ?? [],
    arrived: arrived[index] ?? 0,
  }));
}

/** `elsewhere`: packets that came by other ports; `denied`: those that none of its tests allowed. */
function listOf(
  lists: readonly ListSums[],
  index: number,
  arrived: number,
): Pick<ListSums, "tests" | "allowed"> & { elsewhere: number; denied: number } {
  const { tests, allowed, arrived: all } = lists[index] ?? { tests: [], allowed: [], arrived };
  return { tests, allowed, elsewhere: all - arrived, denied: Math.max(0, all - sum(allowed)) };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
const portText = (protocol: number, port: number): string => `${protocol} ${port}`;

/** Finds the rules that name a single port, by their index. */
function rulesByMatch(rules: readonly Rule[]): (port: string) => readonly number[] {
  const byPort = new Map<string, Set<number>>();
  for (const [index, { ports }] of rules.entries()) {
    for (const match of ports) {
      if (!("first" in match) || match.last - match.first >= expandedPortsMax) continue;
      for (let port = match.first; port <= match.last; port += 1) {
        const text = portText(match.protocol, port);
        byPort.set(text, (byPort.get(text) ?? new Set()).add(index));
      }
    }
  }
  return (port) => [...(byPort.get(port) ?? [])];
}

/** The rules that a rule of the rest stands for. */
function restRules(rules: readonly Rule[], rest: RestRule, { rest: all }: LayerChains): number[] {
  const { peer, ...match } = rest;
  const tests = all.flatMap((one) => (sameMatch(one, match) && one.peer !== undefined ? [one.peer] : []));
  return rules.flatMap((rule, index) => {
    if (peer?.withPort === true) return namesPort(rule, peer) ? [index] : [];
    const says = rule.ports.length === 0 ? sameMatch({}, match) : rule.ports.some((port) => becomes(port, match));
    return says && (peer === undefined || covers(rule, peer, tests)) ? [index] : [];
  });
}

/** Whether that port of a rule became this match, which is none of a single port. */
function becomes(port: PortMatch, match: RestRule): boolean {
  if ("peerPort" in port) return false;
  const { protocol } = port;
  if ("type" in port) {
    const { type, code } = port;
    return sameMatch({ protocol, icmp: code === undefined ? { type } : { type, code } }, match);
  }
  if (!("first" in port)) return sameMatch({ protocol }, match);
  return sameMatch({ protocol, ports: { first: port.first, last: port.last } }, match);
}

function sameMatch(a: RestRule, b: RestRule): boolean {
  return (
    a.protocol === b.protocol &&
    a.ports?.first === b.ports?.first &&
    a.ports?.last === b.ports?.last &&
    a.icmp?.type === b.icmp?.type &&
    a.icmp?.code === b.icmp?.code
  );
}

/** Whether that rule is about members who call a port so. */
function namesPort({ ports, peers }: Rule, { family, set }: PeerTest): boolean {
  return ports.some(
    (port) =>
      "peerPort" in port &&
      peers.some(
        (peer) =>
          "members" in peer &&
          memberSetKind(peer.members, family, { protocol: port.protocol, portName: port.peerPort }).name === set,
      ),
  );
}

/**
 * Whether a peer of the rule is who this test asks for. Blocks of one family are merged into one test; where they are the whole
 * family, members have no test of their own beside it.
 */
function covers(rule: Rule | undefined, { family, set }: PeerTest, beside: readonly PeerTest[]): boolean {
  if (rule === undefined || rule.peers.length === 0) return rule !== undefined;
  return rule.peers.some((peer) => {
    if ("block" in peer) return isBlockSet(set) && peer.block.includes(":") === (family === 6);
    const { name } = memberSetKind(peer.members, family);
    return name === set || (isBlockSet(set) && !beside.some((test) => test.set === name));
  });
}

/** See `blockSet`. */
const isBlockSet = (set: string): boolean => /^b[46]_/.test(set);
