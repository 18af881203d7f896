// One layer to lookups: single ports to entries with shared lists of peers, everything else to rules in a row.

import { createPeers, type NamedByPeer, type PeerGroup, type Peers, type Tests } from "./compile-peers.ts";
import { contentName, type MemberSetKind } from "./compile-sets.ts";
import type { Layer, PortMatch } from "./model.ts";
import type { BlockSet, LayerChains, PeerTest, PortEntry, RestRule } from "./ruleset.ts";

/** A range of at most so many ports becomes single ports, which are found by one lookup however many there are. */
export const expandedPortsMax = 16;

/** Lookups of one layer, those of its lists of peers counted: once there are more, what is left of its rules allows nothing. No object fills kernel or agent. */
export const layerLookupsMax = 16_384;

/** A layer and the sets that it looks into. */
export interface CompiledLayer {
  chains: LayerChains;
  /** Single ports, ranges and messages that its rules name. */
  matches: number;
  /** Of these, those that are left out, and allow nothing, since the layer is too large. */
  leftOut: number;
  memberSets: readonly MemberSetKind[];
  blockSets: readonly BlockSet[];
}

/**
 * Compiles a layer; what it becomes depends on nothing else. Layers of the same objects that say the same in another order become the
 * same; those of other objects never do, since what each denies is counted by itself.
 */
export function compileLayer(
  { kind, id, direction, otherwise, rules }: Layer,
  lookupsMax = layerLookupsMax,
): CompiledLayer {
  const peers = createPeers();
  const work: Work = { single: new Map(), rest: new Map(), named: new Map() };
  for (const rule of rules) {
    const group = rule.peers.length === 0 ? "any" : peers.groupOf(rule.peers);
    if (rule.ports.length === 0) addMatch(work, {}, group);
    for (const port of rule.ports) addPort(work, port, group);
  }
  const all = work.rest.get(matchText({}));
  const open = all !== undefined && peers.testsOf(all.allowed) === "any";
  const room: Room = { left: lookupsMax, leftOut: 0 };
  const lookups = open
    ? { ports: [], peerLists: [], rest: [{}] }
    : { ...portEntries(work, peers, room), rest: restRules(work, peers, room) };
  const content = { direction, otherwise, ...lookups };
  const used = setsOf(content);
  return {
    chains: { name: contentName(direction === "egress" ? "e" : "i", { kind, id, ...content }), ...content },
    matches: work.single.size + work.rest.size + work.named.size,
    leftOut: room.leftOut,
    memberSets: [...peers.memberSets.values()].filter(({ name }) => used.has(name)),
    blockSets: [...peers.blockSets.values()].filter(({ name }) => used.has(name)),
  };
}

/** Names of the sets that a layer looks into. */
export function setsOf({ peerLists, rest }: Pick<LayerChains, "peerLists" | "rest">): Set<string> {
  const inRest = rest.flatMap(({ peer }) => (peer === undefined ? [] : [peer.set]));
  return new Set([...peerLists.flatMap((tests) => tests.map(({ set }) => set)), ...inRest]);
}

/** How many lookups a layer may still have, and how many matches found no room: every port, range or message is one. */
interface Room {
  left: number;
  leftOut: number;
}

/** Takes a place for one match, whose lookups the caller counts then: the last that finds a place may need more than there is. */
function hasRoom(room: Room): boolean {
  if (room.left <= 0) room.leftOut += 1;
  return room.left > 0;
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

function portEntries({ single }: Work, { testsOf }: Peers, room: Room): Pick<LayerChains, "ports" | "peerLists"> {
  const ports: PortEntry[] = [];
  const indexes = new Map<readonly PeerTest[], number>();
  const indexOf = (tests: readonly PeerTest[]): number => {
    const known = indexes.get(tests);
    if (known !== undefined) return known;
    room.left -= tests.length;
    indexes.set(tests, indexes.size);
    return indexes.size - 1;
  };
  for (const [key, allowed] of [...single].toSorted(([a], [b]) => a - b)) {
    if (!hasRoom(room)) continue;
    const tests = testsOf(allowed);
    if (tests.length === 0) continue; // allows nothing
    room.left -= 1;
    const peers = tests === "any" ? tests : indexOf(tests);
    ports.push({ protocol: Math.floor(key / 65_536), port: key % 65_536, peers });
  }
  return { ports, peerLists: [...indexes.keys()] };
}

function restRules({ rest, named }: Work, { testsOf, namedTests }: Peers, room: Room): RestRule[] {
  const rules: RestRule[] = [];
  const add = (match: Match, tests: Tests): void => {
    const made = tests === "any" ? [match] : tests.map((peer): RestRule => ({ ...match, peer }));
    room.left -= made.length;
    for (const rule of made) rules.push(rule);
  };
  for (const { match, allowed } of inOrder(rest)) {
    if (hasRoom(room)) add(match, testsOf(allowed));
  }
  for (const { port, groups } of inOrder(named)) {
    if (hasRoom(room)) add({ protocol: port.protocol }, namedTests(groups, port));
  }
  return rules;
}

/** The values in the order of their keys. */
function inOrder<T>(map: ReadonlyMap<string, T>): T[] {
  return [...map].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}
