// Packets, ends and peers in words, for people who ask why.

import { cidrContains } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import { blockHolds } from "./block.ts";
import type { MembershipDefinition, MembershipKey, Packet, Peer, Rule, Subject } from "./model.ts";
import { hasPorts, portText, protocolText } from "./port.ts";

/** What memberships stand for, where it is known. */
export type Definitions = ReadonlyMap<MembershipKey, MembershipDefinition>;

/** "tcp 5432", "icmp type 8 code 0", "protocol 47": what a rule would have to allow. */
export function trafficText({ protocol, destinationPort, icmp }: Packet): string {
  if (icmp !== undefined) return `${protocolText(protocol)} type ${icmp.type} code ${icmp.code}`;
  if (destinationPort !== undefined && hasPorts(protocol)) return `${protocolText(protocol)} ${destinationPort}`;
  return protocolText(protocol);
}

/** "pod shop/web (10.4.1.2)", or the address alone. */
export function endText(address: Ip, subject: Subject | undefined): string {
  return subject === undefined ? address : `pod ${podTitle(subject)} (${address})`;
}

export function podTitle({ pod: { namespace, name } }: Subject): string {
  return `${namespace}/${name}`;
}

/** "tcp 80, tcp 443", or "everything". */
export function portsText(rule: Rule): string {
  return rule.ports.length === 0 ? "everything" : rule.ports.map(portText).join(", ");
}

/** "10.0.0.0/8 but 10.1.0.0/16; members of SecurityGroup db", or "everybody". */
export function peersText(rule: Rule, definitions: Definitions): string {
  return rule.peers.length === 0 ? "everybody" : rule.peers.map((peer) => peerText(peer, definitions)).join("; ");
}

function peerText(peer: Peer, definitions: Definitions): string {
  if ("members" in peer) return definitions.get(peer.members)?.peer ?? `membership ${peer.members}`;
  return peer.except.length === 0 ? peer.block : `${peer.block} but ${peer.except.join(", ")}`;
}

/** Says which exception keeps an address out that the rule would take otherwise. */
export function exceptionText({ peers }: Rule, address: Ip): string | undefined {
  for (const peer of peers) {
    if ("members" in peer || !cidrContains(peer.block, address) || blockHolds(peer, address)) continue;
    const cut = peer.except.find((network) => cidrContains(network, address));
    return `${address} is cut out of ${peer.block} by its except ${cut}`;
  }
  return undefined;
}
