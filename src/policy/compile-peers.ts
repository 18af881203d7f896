// The peers of a layer's rules as tests of sets: equal lists of peers are one group, and each combination of groups is worked out once.

import { present } from "../base/assert.ts";
import {
  type Blocks,
  blocksOf,
  blockSet,
  coversFamily,
  families,
  joinBlocks,
  type MemberSetKind,
  memberSetKind,
} from "./compile-sets.ts";
import type { MembershipKey, Peer } from "./model.ts";
import type { BlockSet, PeerTest } from "./ruleset.ts";

/** The number of a list of peers. */
export type PeerGroup = number;

/** Whom something allows: everybody, or the peers of these groups together. */
export type Allowed = "any" | ReadonlySet<PeerGroup>;

/** What peers become: everybody, or tests of which one must hold; none holds in an empty list. Equal lists are the same object. */
export type Tests = "any" | readonly PeerTest[];

/** The peers of one layer. */
export interface Peers {
  groupOf: (peers: readonly Peer[]) => PeerGroup;
  testsOf: (allowed: Allowed) => Tests;
  /** Members of these groups by what they call a port. A block has given no names, so it allows nothing here. */
  namedTests: (groups: Iterable<PeerGroup>, port: NamedByPeer) => PeerTest[];
  /** The sets that the tests given so far look into. */
  memberSets: ReadonlyMap<string, MemberSetKind>;
  blockSets: ReadonlyMap<string, BlockSet>;
}

/** A port by the name that peers give it. */
export interface NamedByPeer {
  protocol: number;
  portName: string;
}

interface Group {
  memberships: readonly MembershipKey[];
  blocks: Blocks;
}

export function createPeers(): Peers {
  const groups: Group[] = [];
  const numbers = new Map<string, PeerGroup>();
  const unions = new Map<string, Tests>();
  const lists = new Map<string, Tests>();
  const memberTests = new Map<string, PeerTest>();
  const memberSets = new Map<string, MemberSetKind>();
  const blockSets = new Map<string, BlockSet>();

  const these = (numbersOf: Iterable<PeerGroup>): Group[] =>
    [...numbersOf].map((number) => present(groups[number], `peers ${number}`));
  const memberTest = (membership: MembershipKey, family: 4 | 6, port?: NamedByPeer): PeerTest => {
    const key = `${family}${membership}${port === undefined ? "" : `${port.protocol} ${port.portName}`}`;
    return once(memberTests, key, () => {
      const kind = memberSetKind(membership, family, port);
      memberSets.set(kind.name, kind);
      return { family, set: kind.name, ...(port === undefined ? {} : { withPort: true }) };
    });
  };
  const blockTest = (blocks: Blocks, family: 4 | 6): PeerTest[] => {
    if (blocks[family].length === 0) return [];
    const set = blockSet(family, blocks[family]);
    blockSets.set(set.name, set);
    return [{ family, set: set.name }];
  };
  const union = (of: readonly Group[]): Tests => {
    const blocks = joinBlocks(of.map((group) => group.blocks));
    const covered = families.filter((family) => coversFamily(blocks, family));
    if (covered.length === families.length) return "any";
    const memberships = membershipsOf(of);
    const tests = families.flatMap((family) => [
      ...blockTest(blocks, family),
      ...(covered.includes(family) ? [] : memberships.map((membership) => memberTest(membership, family))),
    ]);
    return once(lists, tests.map(({ set }) => set).join(), () => tests);
  };
  return {
    memberSets,
    blockSets,
    groupOf: (peers) =>
      once(numbers, peers.map(peerText).join("|"), () => {
        const memberships = peers.flatMap((peer) => ("members" in peer ? [peer.members] : []));
        return groups.push({ memberships, blocks: blocksOf(peers) }) - 1;
      }),
    testsOf: (allowed) => {
      if (allowed === "any") return "any";
      return once(unions, [...allowed].toSorted((a, b) => a - b).join(), () => union(these(allowed)));
    },
    namedTests: (of, port) =>
      membershipsOf(these(of)).flatMap((membership) => families.map((family) => memberTest(membership, family, port))),
  };
}

/** What `map` has under `key`; made where it has nothing. */
function once<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

/** Equal for equal peers only: no key and no network has these signs. */
function peerText(peer: Peer): string {
  return "members" in peer ? peer.members : `${peer.block}-${peer.except.join()}`;
}

/** All of them, each once, in one order. */
function membershipsOf(groups: readonly Group[]): MembershipKey[] {
  return [...new Set(groups.flatMap(({ memberships }) => memberships))].toSorted();
}
