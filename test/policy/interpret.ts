// What a node's ruleset makes of a packet, by the words of src/policy/ruleset.ts alone: a kernel for tests that only knows lookups.

import assert from "node:assert/strict";
import type { Ip } from "../../src/net/ip.ts";
import type { Packet } from "../../src/policy/model.ts";
import type { LayerChains, PeerTest, PolicyRuleset, RestRule } from "../../src/policy/ruleset.ts";
import { inRange, placeOf, readNetwork } from "./naive-parts.ts";

/** Which layers of a class are asked: for what its pod sends on, for what it sends to its own node, or for what comes to it. */
export type Asked = "egress" | "toNode" | "ingress";

/** Whether `packet` gets by the layers that `classNumber` has. A class that is not in the ruleset lets nothing pass. */
export function rulesetPasses(ruleset: PolicyRuleset, classNumber: number, asked: Asked, packet: Packet): boolean {
  const credentials = packet.protocol === 6 && packet.destinationPort === 80;
  const isClosed = asked === "egress" && ruleset.metadata === "closed" && credentials;
  if (isClosed && ["169.254.169.254", "fd00:ec2::254", "fd20:ce::254"].includes(packet.destination)) return false;
  const layers = ruleset.classes.get(classNumber)?.[asked];
  if (layers === undefined) return false;
  return layers.every((name) => {
    const layer = ruleset.layers.get(name);
    assert.ok(layer, `class ${classNumber} asks layer ${name}, which is not there`);
    assert.equal(layer.direction, asked === "ingress" ? "ingress" : "egress", `layer ${name} of ${asked}`);
    return layerAllows(ruleset, layer, packet) || layer.otherwise === "audit";
  });
}

function layerAllows(ruleset: PolicyRuleset, layer: LayerChains, packet: Packet): boolean {
  const peer = layer.direction === "egress" ? packet.destination : packet.source;
  const entries = layer.ports.filter(
    ({ protocol, port }) => protocol === packet.protocol && port === packet.destinationPort,
  );
  assert.ok(entries.length <= 1, `layer ${layer.name} has ${packet.protocol}/${packet.destinationPort} twice`);
  for (const { peers } of entries) {
    if (peers === "any") return true;
    const list = layer.peerLists[peers];
    assert.ok(list, `layer ${layer.name} has no peer list ${peers}`);
    if (list.some((test) => peerHolds(ruleset, test, peer, packet))) return true;
  }
  return layer.rest.some((rule) => restHolds(ruleset, rule, peer, packet));
}

/** "A rule allows where all that it says holds." */
function restHolds(
  ruleset: PolicyRuleset,
  { protocol, ports, icmp, peer: test }: RestRule,
  peer: Ip,
  packet: Packet,
): boolean {
  if (ports !== undefined)
    assert.ok(protocol === 6 || protocol === 17 || protocol === 132, "ports without their protocol");
  if (icmp !== undefined) assert.ok(protocol === 1 || protocol === 58, "a message without its protocol");
  if (protocol !== undefined && protocol !== packet.protocol) return false;
  if (ports !== undefined) {
    const { destinationPort: port } = packet;
    if (port === undefined || port < ports.first || port > ports.last) return false;
  }
  if (icmp !== undefined) {
    if (packet.icmp?.type !== icmp.type) return false;
    if (icmp.code !== undefined && icmp.code !== packet.icmp.code) return false;
  }
  return test === undefined || peerHolds(ruleset, test, peer, packet);
}

/** The peer is of the test's family and in its set. */
function peerHolds({ memberSets, blockSets }: PolicyRuleset, test: PeerTest, peer: Ip, packet: Packet): boolean {
  const members = memberSets.get(test.set);
  const blocks = blockSets.get(test.set);
  const set = members ?? blocks;
  assert.ok(set, `set ${test.set} is not there`);
  assert.ok(members === undefined || blocks === undefined, `two sets are named ${test.set}`);
  assert.equal(set.family, test.family, `set ${test.set}`);
  if (test.family !== (peer.includes(":") ? 6 : 4)) return false;
  if (members !== undefined) {
    assert.equal(
      members.portName !== undefined,
      test.withPort === true,
      `set ${test.set} is looked up as what it holds`,
    );
    return members.parts
      .flat()
      .some(
        ({ address, protocol, port }) =>
          address === peer && (!test.withPort || (protocol === packet.protocol && port === packet.destinationPort)),
      );
  }
  assert.ok(!test.withPort, `set ${test.set} holds no ports`);
  return (blocks?.blocks ?? []).some((block) => {
    const range = readNetwork(block);
    assert.ok(range, `${block} is a network`);
    return inRange(range, placeOf(peer));
  });
}

/** What the words of a set promise beyond the answers: no network of a block set overlaps another. */
export function assertWellFormed({ blockSets, memberSets }: PolicyRuleset): void {
  for (const { name, family, blocks } of blockSets.values()) {
    const ranges = blocks.map(readNetwork).toSorted((a, b) => (a && b && a.first < b.first ? -1 : 1));
    ranges.forEach((range, index) => {
      const next = ranges[index + 1];
      assert.equal(range?.family, family, `a network of set ${name}`);
      assert.ok(range && (next === undefined || range.last < next.first), `networks of set ${name} overlap`);
    });
  }
  for (const { name, family, parts } of memberSets.values()) {
    for (const { address } of parts.flat())
      assert.equal(address.includes(":") ? 6 : 4, family, `${address} in set ${name}`);
  }
}
