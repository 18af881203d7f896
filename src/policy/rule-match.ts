// Whether a rule allows a packet: ports, and peers by their addresses, with networks and members made ready to be looked up.

import { type Cidr, cidrBase, cidrSize } from "../net/cidr.ts";
import { type Ip, ipFamily, ipToNumber } from "../net/ip.ts";
import type { MemberParts, MembershipKey, Memberships, NamedPort, Packet, Peer, PortMatch, Rule } from "./model.ts";

/** The other end of a packet, as a layer sees it. */
export interface Other {
  address: Ip;
  family: 4 | 6;
  /** Made when a network asks for it: members are found by the address alone. */
  number(): number | bigint;
}

/** Which half of a rule holds. It allows where both do. */
export interface Halves {
  port: boolean;
  peer: boolean;
}

export interface RuleMatcher {
  allows(rule: Rule, packet: Packet, other: Other): boolean;
  /** For people: what was right of a rule that does not allow the packet. */
  halves(rule: Rule, packet: Packet, other: Other): Halves;
}

export function otherOf(address: Ip): Other {
  const family = ipFamily(address);
  let number: number | bigint | undefined;
  return { address, family, number: () => (number ??= comparable(family, ipToNumber(address))) };
}

/** Numbers of 32 bits are compared several times faster than those of 128. */
const comparable = (family: 4 | 6, number: bigint): number | bigint => (family === 4 ? Number(number) : number);

interface Range {
  family: 4 | 6;
  first: number | bigint;
  last: number | bigint;
}

type PeerTest = { in: Range; except: readonly Range[] } | { members: MembershipKey };

function rangeOf(cidr: Cidr): Range {
  const base = cidrBase(cidr);
  const family = ipFamily(base);
  const first = ipToNumber(base);
  return { family, first: comparable(family, first), last: comparable(family, first + cidrSize(cidr) - 1n) };
}

const holds = ({ family, first, last }: Range, other: Other): boolean =>
  family === other.family && other.number() >= first && other.number() <= last;

/** For one state of memberships. What a rule or a membership needs is made when it is first asked for. */
export function createRuleMatcher(memberships: Memberships): RuleMatcher {
  const tests = new Map<Rule, readonly PeerTest[]>();
  const members = new Map<MembershipKey, ReadonlyMap<Ip, readonly NamedPort[]>>();

  const testsOf = (rule: Rule): readonly PeerTest[] => {
    const known = tests.get(rule);
    if (known !== undefined) return known;
    const made = rule.peers.map(testOf);
    tests.set(rule, made);
    return made;
  };
  const membersOf = (key: MembershipKey): ReadonlyMap<Ip, readonly NamedPort[]> => {
    const known = members.get(key);
    if (known !== undefined) return known;
    const made = byAddress(memberships.get(key) ?? []);
    members.set(key, made);
    return made;
  };
  const isPeer = (test: PeerTest, other: Other): boolean =>
    "members" in test
      ? membersOf(test.members).has(other.address)
      : holds(test.in, other) && !test.except.some((range) => holds(range, other));
  const peerHolds = (rule: Rule, other: Other): boolean =>
    rule.peers.length === 0 || testsOf(rule).some((test) => isPeer(test, other));
  /** A name is one of the peer's own, so port and peer are one question. */
  const nameHolds = (rule: Rule, packet: Packet, other: Other): boolean =>
    rule.ports.some((match) => "peerPort" in match && match.protocol === packet.protocol) &&
    testsOf(rule).some(
      (test) =>
        "members" in test &&
        (membersOf(test.members).get(other.address) ?? []).some((port) => isNamed(rule.ports, port, packet)),
    );

  return {
    allows: (rule, packet, other) =>
      (portHolds(rule.ports, packet) && peerHolds(rule, other)) || nameHolds(rule, packet, other),
    halves: (rule, packet, other) => ({
      port: portHolds(rule.ports, packet) || nameHolds(rule, packet, other),
      peer: peerHolds(rule, other),
    }),
  };
}

function testOf(peer: Peer): PeerTest {
  return "members" in peer ? peer : { in: rangeOf(peer.block), except: peer.except.map(rangeOf) };
}

/** An address may stand in two entries for a moment: then it has the ports of both. */
function byAddress(members: MemberParts): Map<Ip, readonly NamedPort[]> {
  const found = new Map<Ip, readonly NamedPort[]>();
  for (const { address, ports } of members.flat()) {
    const known = found.get(address);
    found.set(address, known === undefined ? ports : [...known, ...ports]);
  }
  return found;
}

function portHolds(ports: readonly PortMatch[], packet: Packet): boolean {
  return ports.length === 0 || ports.some((match) => matchHolds(match, packet));
}

function matchHolds(match: PortMatch, { protocol, destinationPort, icmp }: Packet): boolean {
  if (match.protocol !== protocol) return false;
  if ("peerPort" in match) return false;
  if ("first" in match) {
    return destinationPort !== undefined && destinationPort >= match.first && destinationPort <= match.last;
  }
  if ("type" in match) {
    return icmp !== undefined && icmp.type === match.type && (match.code === undefined || icmp.code === match.code);
  }
  return true;
}

function isNamed(ports: readonly PortMatch[], { name, protocol, port }: NamedPort, packet: Packet): boolean {
  return (
    protocol === packet.protocol &&
    port === packet.destinationPort &&
    ports.some((match) => "peerPort" in match && match.peerPort === name && match.protocol === protocol)
  );
}
