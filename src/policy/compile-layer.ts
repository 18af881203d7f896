// One layer to lookups: single ports to entries with shared lists of peers, everything else to rules in a row.

import {
  type Blocks,
  blocksOf,
  blockSet,
  contentName,
  coversFamily,
  families,
  joinBlocks,
  type MemberSetKind,
  memberSetKind,
} from "./compile-sets.ts";
import type { Layer, MembershipKey, Peer, PortMatch, Rule } from "./model.ts";
import type { BlockSet, LayerChains, PeerTest, PortEntry, RestRule } from "./ruleset.ts";

/** A range of at most so many ports becomes single ports, which are found by one lookup however many there are. */
export const expandedPortsMax = 16;

/** A layer and the sets that it looks into. */
export interface CompiledLayer {
  chains: LayerChains;
  memberSets: readonly MemberSetKind[];
  blockSets: readonly BlockSet[];
}

/** Peers as rules of the layer list them: equal lists are one. */
interface PeerGroup {
  memberships: readonly MembershipKey[];
  blocks: Blocks;
}

/** Whom one match of ports allows: everybody, or the peers of these groups together. */
type Allowed = "any" | Set<number>;

/** A RestRule without its peer. */
type Match = Omit<RestRule, "peer">;

/** What a list of peers becomes: everybody, or tests of which one must hold; none holds in an empty list. */
type Tests = "any" | readonly PeerTest[];

/** Compiles a layer; what it becomes depends on nothing else. Layers that say the same in another order become the same. */
export function compileLayer({ direction, otherwise, rules }: Layer): CompiledLayer {
  const work = gather(rules);
  const sets = createSets(work.groups);
  const all = work.rest.get(matchText({}));
  const open = all !== undefined && sets.testsOf(all.allowed) === "any";
  const lookups = open
    ? { ports: [], peerLists: [], rest: [{}] }
    : { ...portEntries(work, sets.testsOf), rest: restRules(work, sets) };
  const content = { direction, otherwise, ...lookups };
  return {
    chains: { name: contentName(direction === "egress" ? "e" : "i", content), ...content },
    memberSets: [...sets.memberSets.values()],
    blockSets: [...sets.blockSets.values()],
  };
}

/** The rules of a layer turned around: by ports, who is allowed. */
interface Work {
  groups: PeerGroup[];
  /** By protocol * 65536 + port. */
  single: Map<number, Allowed>;
  /** By the text of the match. */
  rest: Map<string, { match: Match; allowed: Allowed }>;
  /** By protocol and name: the groups whose members are asked for the port that they call so. */
  named: Map<string, { protocol: number; portName: string; groups: Set<number> }>;
}

function gather(rules: readonly Rule[]): Work {
  const work: Work = { groups: [], single: new Map(), rest: new Map(), named: new Map() };
  const numbers = new Map<string, number>();
  const groupOf = (peers: readonly Peer[]): number => {
    const text = JSON.stringify(peers);
    const known = numbers.get(text);
    if (known !== undefined) return known;
    const memberships = peers.flatMap((peer) => ("members" in peer ? [peer.members] : []));
    numbers.set(text, work.groups.length);
    return work.groups.push({ memberships, blocks: blocksOf(peers) }) - 1;
  };
  for (const { ports, peers } of rules) {
    const group = peers.length === 0 ? "any" : groupOf(peers);
    if (ports.length === 0) addMatch(work, {}, group);
    for (const port of ports) addPort(work, port, group);
  }
  return work;
}

function addPort(work: Work, port: PortMatch, group: number | "any"): void {
  const { protocol } = port;
  if ("peerPort" in port) {
    // Only a membership knows its members' names: everybody, and a block, have given none.
    if (group === "any") return;
    const key = `${protocol} ${port.peerPort}`;
    const entry = work.named.get(key) ?? { protocol, portName: port.peerPort, groups: new Set() };
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

function addMatch({ rest }: Work, match: Match, group: number | "any"): void {
  const text = matchText(match);
  rest.set(text, { match, allowed: allow(rest.get(text)?.allowed, group) });
}

function allow(before: Allowed | undefined, group: number | "any"): Allowed {
  if (group === "any" || before === "any") return "any";
  return (before ?? new Set()).add(group);
}

/** Equal matches have equal texts, since `addPort` makes them all in one order; the order of texts is that of the rules. */
function matchText(match: Match): string {
  return JSON.stringify(match);
}

interface Sets {
  testsOf: (allowed: Allowed) => Tests;
  /** Of the members of these groups, by what they call the port. */
  namedTests: (groups: ReadonlySet<number>, port: { protocol: number; portName: string }) => PeerTest[];
  memberSets: ReadonlyMap<string, MemberSetKind>;
  blockSets: ReadonlyMap<string, BlockSet>;
}

/** Makes the tests of peers, each combination of groups once, and keeps the sets that they need. */
function createSets(groups: readonly PeerGroup[]): Sets {
  const memberSets = new Map<string, MemberSetKind>();
  const blockSets = new Map<string, BlockSet>();
  const known = new Map<string, Tests>();

  const membershipsOf = (these: readonly PeerGroup[]): MembershipKey[] =>
    [...new Set(these.flatMap(({ memberships }) => memberships))].toSorted();
  const memberTest = (kind: MemberSetKind): PeerTest => {
    memberSets.set(kind.name, kind);
    return { family: kind.family, set: kind.name, ...(kind.portName === undefined ? {} : { withPort: true }) };
  };
  const union = (these: readonly PeerGroup[]): Tests => {
    const blocks = joinBlocks(these.map((group) => group.blocks));
    if (families.every((family) => coversFamily(blocks, family))) return "any";
    const memberships = membershipsOf(these);
    return families.flatMap((family) => {
      const tests: PeerTest[] = [];
      if (blocks[family].length > 0) {
        const set = blockSet(family, blocks[family]);
        blockSets.set(set.name, set);
        tests.push({ family, set: set.name });
      }
      if (coversFamily(blocks, family)) return tests;
      return [...tests, ...memberships.map((membership) => memberTest(memberSetKind(membership, family)))];
    });
  };
  return {
    memberSets,
    blockSets,
    testsOf: (allowed) => {
      if (allowed === "any") return "any";
      const key = [...allowed].toSorted((a, b) => a - b).join();
      const tests = known.get(key) ?? union(pick(groups, allowed));
      known.set(key, tests);
      return tests;
    },
    namedTests: (these, port) =>
      membershipsOf(pick(groups, these)).flatMap((membership) =>
        families.map((family) => memberTest(memberSetKind(membership, family, port))),
      ),
  };
}

function pick(groups: readonly PeerGroup[], numbers: ReadonlySet<number>): PeerGroup[] {
  return groups.filter((_, number) => numbers.has(number));
}

function portEntries({ single }: Work, testsOf: Sets["testsOf"]): Pick<LayerChains, "ports" | "peerLists"> {
  const ports: PortEntry[] = [];
  const peerLists: (readonly PeerTest[])[] = [];
  const indexes = new Map<string, number>();
  for (const [key, allowed] of [...single].toSorted(([a], [b]) => a - b)) {
    const tests = testsOf(allowed);
    if (tests.length === 0) continue; // allows nothing more than `rest` does
    const entry = { protocol: Math.floor(key / 65_536), port: key % 65_536 };
    if (tests === "any") {
      ports.push({ ...entry, peers: "any" });
      continue;
    }
    const text = JSON.stringify(tests);
    const index = indexes.get(text) ?? peerLists.push(tests) - 1;
    indexes.set(text, index);
    ports.push({ ...entry, peers: index });
  }
  return { ports, peerLists };
}

function restRules({ rest, named }: Work, { testsOf, namedTests }: Sets): RestRule[] {
  const byText = <T>(map: ReadonlyMap<string, T>): T[] =>
    [...map].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
  const plain = byText(rest).flatMap(({ match, allowed }) => {
    const tests = testsOf(allowed);
    return tests === "any" ? [match] : tests.map((peer): RestRule => ({ ...match, peer }));
  });
  const byName = byText(named).flatMap(({ groups, ...port }) =>
    namedTests(groups, port).map((peer): RestRule => ({ protocol: port.protocol, peer })),
  );
  return [...plain, ...byName];
}
