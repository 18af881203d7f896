// One layer to lookups: single ports to entries with shared lists of peers, everything else to rules in a row.

import { createPeers, type NamedByPeer, type PeerGroup, type Peers } from "./compile-peers.ts";
import { contentName, type MemberSetKind } from "./compile-sets.ts";
import type { Layer, PortMatch } from "./model.ts";
import type { BlockSet, LayerChains, PeerTest, PortEntry, RestRule } from "./ruleset.ts";

/** A range of at most so many ports becomes single ports, which are found by one lookup however many there are. */
export const expandedPortsMax = 16;

/** A layer and the sets that it looks into. */
export interface CompiledLayer {
  chains: LayerChains;
  memberSets: readonly MemberSetKind[];
  blockSets: readonly BlockSet[];
}

/** Compiles a layer; what it becomes depends on nothing else. Layers that say the same in another order become the same. */
export function compileLayer({ direction, otherwise, rules }: Layer): CompiledLayer {
  const peers = createPeers();
  const work: Work = { single: new Map(), rest: new Map(), named: new Map() };
  for (const rule of rules) {
    const group = rule.peers.length === 0 ? "any" : peers.groupOf(rule.peers);
    if (rule.ports.length === 0) addMatch(work, {}, group);
    for (const port of rule.ports) addPort(work, port, group);
  }
  const all = work.rest.get(matchText({}));
  const open = all !== undefined && peers.testsOf(all.allowed) === "any";
  const lookups = open
    ? { ports: [], peerLists: [], rest: [{}] }
    : { ...portEntries(work, peers), rest: restRules(work, peers) };
  const content = { direction, otherwise, ...lookups };
  return {
    chains: { name: contentName(direction === "egress" ? "e" : "i", content), ...content },
    memberSets: [...peers.memberSets.values()],
    blockSets: [...peers.blockSets.values()],
  };
}

/** A RestRule without its peer. */
type Match = Omit<RestRule, "peer">;

/** The rules of a layer turned around: by ports, who is allowed. */
interface Work {
  /** By protocol * 65536 + port. */
  single: Map<number, "any" | Set<PeerGroup>>;
  /** By the text of the match. */
  rest: Map<string, { match: Match; allowed: "any" | Set<PeerGroup> }>;
  /** By protocol and name: whose members are asked for the port that they call so. */
  named: Map<string, { port: NamedByPeer; groups: Set<PeerGroup> }>;
}

function addPort(work: Work, port: PortMatch, group: PeerGroup | "any"): void {
  const { protocol } = port;
  if ("peerPort" in port) {
    if (group === "any") return; // everybody has given no names
    const key = `${protocol} ${port.peerPort}`;
    const entry = work.named.get(key) ?? { port: { protocol, portName: port.peerPort }, groups: new Set() };
    work.named.set(key, entry);
    entry.groups.add(group);
  } else if ("type" in port) {
    const { type, code } = port;
    addMatch(work, { protocol, icmp: code === undefined ? { type } : { type, code } }, group);
  } else if (!("first" in port)) {
    addMatch(work, { protocol }, group);
  } else if (port.last - port.first >= expandedPortsMax) {
    addMatch(work, { protocol, ports: { first: port.first, last: port.last } }, group);
  } else {
    for (let at = port.first; at <= port.last; at += 1) {
      const key = protocol * 65_536 + at;
      work.single.set(key, allow(work.single.get(key), group));
    }
  }
}

function addMatch({ rest }: Work, match: Match, group: PeerGroup | "any"): void {
  const text = matchText(match);
  rest.set(text, { match, allowed: allow(rest.get(text)?.allowed, group) });
}

function allow(before: "any" | Set<PeerGroup> | undefined, group: PeerGroup | "any"): "any" | Set<PeerGroup> {
  if (group === "any" || before === "any") return "any";
  return (before ?? new Set()).add(group);
}

/** Equal matches have equal texts, since `addPort` makes them all in one order. */
function matchText(match: Match): string {
  return JSON.stringify(match);
}

function portEntries({ single }: Work, { testsOf }: Peers): Pick<LayerChains, "ports" | "peerLists"> {
  const ports: PortEntry[] = [];
  const indexes = new Map<readonly PeerTest[], number>();
  const indexOf = (tests: readonly PeerTest[]): number => {
    const index = indexes.get(tests) ?? indexes.size;
    indexes.set(tests, index);
    return index;
  };
  for (const [key, allowed] of [...single].toSorted(([a], [b]) => a - b)) {
    const tests = testsOf(allowed);
    if (tests.length === 0) continue; // allows nothing
    const peers = tests === "any" ? tests : indexOf(tests);
    ports.push({ protocol: Math.floor(key / 65_536), port: key % 65_536, peers });
  }
  return { ports, peerLists: [...indexes.keys()] };
}

function restRules({ rest, named }: Work, { testsOf, namedTests }: Peers): RestRule[] {
  const plain = inOrder(rest).flatMap(({ match, allowed }): RestRule[] => {
    const tests = testsOf(allowed);
    return tests === "any" ? [match] : tests.map((peer) => ({ ...match, peer }));
  });
  const byName = inOrder(named).flatMap(({ port, groups }) =>
    namedTests(groups, port).map((peer): RestRule => ({ protocol: port.protocol, peer })),
  );
  return [...plain, ...byName];
}

/** The values in the order of their keys. */
function inOrder<T>(map: ReadonlyMap<string, T>): T[] {
  return [...map].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}
