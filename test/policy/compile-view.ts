// Two plain readings of policy, to be compared: what a ruleset's lookups decide of a packet, and what the rules of layers say of it.

import { cidrContains } from "../../src/net/cidr.ts";
import { ipFamily } from "../../src/net/ip.ts";
import type { Direction, Layer, Memberships, Packet, Peer, PortMatch } from "../../src/policy/model.ts";
import type { LayerChains, LookupCounts, PeerTest, PolicyRuleset, RestRule } from "../../src/policy/ruleset.ts";

/** What the layer of this name does with the packet, as the kernel would: ports, then the rest in order, then `otherwise`. */
export function lookupAllows(ruleset: PolicyRuleset, name: string, packet: Packet): boolean {
  const layer = ruleset.layers.get(name);
  if (layer === undefined) throw new Error(`the ruleset names layer ${name} and does not have it`);
  const entries = layer.ports.filter(
    ({ protocol, port }) => protocol === packet.protocol && port === packet.destinationPort,
  );
  if (entries.length > 1) throw new Error(`${name} has more than one entry for port ${packet.destinationPort}`);
  for (const { peers } of entries) {
    if (peers === "any") return true;
    const list = layer.peerLists[peers];
    if (list === undefined) throw new Error(`${name} has no list ${peers}`);
    if (list.some((test) => testHolds(ruleset, layer, test, packet))) return true;
  }
  return layer.rest.some((rule) => restHolds(ruleset, layer, rule, packet));
}

/** What the kernel's lookups have counted once these packets have come by the layer of this name. */
export function lookupCounts(ruleset: PolicyRuleset, name: string, packets: readonly Packet[]): LookupCounts {
  const layer = ruleset.layers.get(name);
  if (layer === undefined) throw new Error(`the ruleset names layer ${name} and does not have it`);
  const counts = {
    ports: layer.ports.map(() => 0),
    peerLists: layer.peerLists.map((tests) => tests.map(() => 0)),
    rest: layer.rest.map(() => 0),
  };
  const count = (list: number[] | undefined, at: number): boolean => {
    if (list === undefined || at < 0) return false;
    list[at] = (list[at] ?? 0) + 1;
    return true;
  };
  for (const packet of packets) {
    const entry = layer.ports.findIndex(
      ({ protocol, port }) => protocol === packet.protocol && port === packet.destinationPort,
    );
    count(counts.ports, entry);
    const peers = layer.ports[entry]?.peers;
    if (peers === "any") continue;
    const tests = peers === undefined ? [] : (layer.peerLists[peers] ?? []);
    const held = tests.findIndex((test) => testHolds(ruleset, layer, test, packet));
    if (peers !== undefined && count(counts.peerLists[peers], held)) continue;
    count(
      counts.rest,
      layer.rest.findIndex((rule) => restHolds(ruleset, layer, rule, packet)),
    );
  }
  return counts;
}

/** What the classes of both ends make of a packet; absent where an end is no pod of the node. Base chains' business is not in it. */
export function classesPass(
  ruleset: PolicyRuleset,
  { source, target }: { source?: number; target?: number },
  packet: Packet,
): boolean {
  const asked = [...layersOf(ruleset, source, "egress"), ...layersOf(ruleset, target, "ingress")];
  return asked.every((name) => ruleset.layers.get(name)?.otherwise === "audit" || lookupAllows(ruleset, name, packet));
}

function layersOf(ruleset: PolicyRuleset, number: number | undefined, direction: Direction): readonly string[] {
  if (number === undefined) return [];
  const found = ruleset.classes.get(number);
  if (found === undefined) throw new Error(`the ruleset has no class ${number}`);
  return found[direction];
}

/** Names of all sets that the layers look into. */
export function namedSets({ layers }: PolicyRuleset): Set<string> {
  const names = new Set<string>();
  for (const { peerLists, rest } of layers.values()) {
    for (const tests of peerLists) for (const { set } of tests) names.add(set);
    for (const { peer } of rest) if (peer !== undefined) names.add(peer.set);
  }
  return names;
}

function restHolds(ruleset: PolicyRuleset, layer: LayerChains, rule: RestRule, packet: Packet): boolean {
  const { protocol, ports, icmp, peer } = rule;
  if (protocol !== undefined && protocol !== packet.protocol) return false;
  if (ports !== undefined) {
    const port = packet.destinationPort;
    if (port === undefined || port < ports.first || port > ports.last) return false;
  }
  if (icmp !== undefined) {
    if (packet.icmp?.type !== icmp.type) return false;
    if (icmp.code !== undefined && packet.icmp.code !== icmp.code) return false;
  }
  return peer === undefined || testHolds(ruleset, layer, peer, packet);
}

function testHolds(ruleset: PolicyRuleset, { direction }: LayerChains, test: PeerTest, packet: Packet): boolean {
  const address = direction === "egress" ? packet.destination : packet.source;
  const members = ruleset.memberSets.get(test.set);
  const blocks = ruleset.blockSets.get(test.set);
  if ((members === undefined) === (blocks === undefined)) throw new Error(`${test.set} is not one set of the ruleset`);
  if ((members ?? blocks)?.family !== test.family) throw new Error(`${test.set} is not of family ${test.family}`);
  if (ipFamily(address) !== test.family) return false;
  if (blocks !== undefined) return blocks.blocks.some((block) => cidrContains(block, address));
  return (members?.parts ?? [])
    .flat()
    .some(
      (element) =>
        element.address === address &&
        (test.withPort !== true || (element.protocol === packet.protocol && element.port === packet.destinationPort)),
    );
}

/** What the layer's rules say of the packet, read as they are written. */
export function rulesAllow(layer: Layer, memberships: Memberships, packet: Packet): boolean {
  const address = layer.direction === "egress" ? packet.destination : packet.source;
  const isPeer = (peer: Peer): boolean =>
    "block" in peer
      ? cidrContains(peer.block, address) && !peer.except.some((hole) => cidrContains(hole, address))
      : (memberships.get(peer.members) ?? []).flat().some((member) => member.address === address);
  const isNamed = (peer: Peer, protocol: number, name: string): boolean =>
    "members" in peer &&
    (memberships.get(peer.members) ?? [])
      .flat()
      .some(
        (member) =>
          member.address === address &&
          member.ports.some(
            (named) => named.name === name && named.protocol === protocol && named.port === packet.destinationPort,
          ),
      );
  return layer.rules.some(({ ports, peers }) => {
    const fromPeer = peers.length === 0 || peers.some(isPeer);
    const portHolds = (port: PortMatch): boolean => {
      if (port.protocol !== packet.protocol) return false;
      if ("peerPort" in port) return peers.some((peer) => isNamed(peer, port.protocol, port.peerPort));
      if ("type" in port)
        return packet.icmp?.type === port.type && (port.code ?? packet.icmp.code) === packet.icmp.code;
      if (!("first" in port)) return fromPeer;
      const at = packet.destinationPort ?? -1;
      return at >= port.first && at <= port.last;
    };
    return ports.length === 0 ? fromPeer : ports.some((port) => ("peerPort" in port || fromPeer) && portHolds(port));
  });
}
