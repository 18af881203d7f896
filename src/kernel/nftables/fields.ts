// What a rule can look at in a packet: where it lies, how long it is, what must hold before it may be read, which values it has.

import { endianness } from "node:os";
import { assert, present } from "../../base/assert.ts";
import { type Cidr, cidrFamily, hostCidr, ownCidr } from "../../net/cidr.ts";
import { addressBits, ipBytes, ipFromNumber, parseIp } from "../../net/ip.ts";
import { joinSpans, spanOf } from "../../net/spans.ts";
import { byteOrder, dataType, fibDestinationType, metaKey, payloadBase, trackingState } from "./constants.ts";

export interface Field {
  /** nft's name of the type, for sets in text. */
  typeName: string;
  /** nft's number of the type. */
  type: number;
  byteOrder: number;
  lengthBytes: number;
  load:
    | { meta: number }
    | { tracking: number }
    | { base: number; offset: number }
    | { fib: { result: number; flags: number } };
  /** Meta values of one byte that must hold first, or the bytes would mean something else. */
  needs?: readonly Need[];
  /** The values, where they have names; else they are addresses. */
  names?: Readonly<Record<string, number>>;
}

export interface Need {
  meta: number;
  value: number;
}

/** NFPROTO_* of linux/netfilter.h. */
const protocols = { ipv4: 2, ipv6: 10 } as const;

/** IANA: protocols that have ports. */
const portProtocols = { tcp: 6, udp: 17, sctp: 132 } as const;

/** RTN_* of linux/rtnetlink.h. */
const addressTypes = { local: 2 } as const;

/** NF_CT_STATE_BIT of enum ip_conntrack_info. */
const trackingStates = { established: 2, related: 4, new: 8 } as const;

/** RFC 9293. */
const tcpFlags = { fin: 1, syn: 2, rst: 4, ack: 16 } as const;

/** IANA: the protocol numbers of TCP, ICMP and ICMPv6, and the message types of neighbour and listener discovery. */
const [protocolTcp, protocolIcmp, protocolIcmpv6] = [6, 1, 58];
const icmpv6Types = {
  "mld-listener-report": 131,
  "nd-router-solicit": 133,
  "nd-neighbor-solicit": 135,
  "nd-neighbor-advert": 136,
  "mld2-listener-report": 143,
} as const;

const v4 = { typeName: "ipv4_addr", type: dataType.ipv4, byteOrder: byteOrder.big, lengthBytes: 4 };
const v6 = { typeName: "ipv6_addr", type: dataType.ipv6, byteOrder: byteOrder.big, lengthBytes: 16 };
const isV4 = [{ meta: metaKey.nfproto, value: protocols.ipv4 }];
const isV6 = [{ meta: metaKey.nfproto, value: protocols.ipv6 }];
const linkName = { typeName: "ifname", type: dataType.ifname, byteOrder: byteOrder.host, lengthBytes: 16 };
const linkGroup = { typeName: "devgroup", type: dataType.deviceGroup, byteOrder: byteOrder.host, lengthBytes: 4 };

/** What must hold before the bytes of an ICMP message of that family may be read. */
export const icmpNeeds: Readonly<Record<4 | 6, readonly Need[]>> = {
  4: [...isV4, { meta: metaKey.l4proto, value: protocolIcmp }],
  6: [...isV6, { meta: metaKey.l4proto, value: protocolIcmpv6 }],
};
const network = (offset: number): Field["load"] => ({ base: payloadBase.network, offset });

export type FieldName =
  | "iifname"
  | "oifname"
  | "iifgroup"
  | "oifgroup"
  | "ip saddr"
  | "ip daddr"
  | "ip6 saddr"
  | "ip6 daddr"
  | "icmpv6 type"
  | "tcp flags"
  | "th dport"
  | "ct state"
  | "fib daddr type"
  | "meta l4proto"
  | "meta nfproto";

/** By the names that nft gives them. Offsets are those of the headers of IPv4, IPv6, ICMPv6 and TCP (RFC 791, 8200, 4443, 9293). */
export const fields: Readonly<Record<FieldName, Field>> = {
  iifname: { ...linkName, load: { meta: metaKey.iifname } },
  oifname: { ...linkName, load: { meta: metaKey.oifname } },
  iifgroup: { ...linkGroup, load: { meta: metaKey.iifgroup } },
  oifgroup: { ...linkGroup, load: { meta: metaKey.oifgroup } },
  "ip saddr": { ...v4, load: network(12), needs: isV4 },
  "ip daddr": { ...v4, load: network(16), needs: isV4 },
  "ip6 saddr": { ...v6, load: network(8), needs: isV6 },
  "ip6 daddr": { ...v6, load: network(24), needs: isV6 },
  "icmpv6 type": {
    typeName: "icmpv6_type",
    type: dataType.icmpv6Type,
    byteOrder: byteOrder.big,
    lengthBytes: 1,
    load: { base: payloadBase.transport, offset: 0 },
    needs: icmpNeeds[6],
    names: icmpv6Types,
  },
  "tcp flags": {
    typeName: "tcp_flag",
    type: dataType.tcpFlag,
    byteOrder: byteOrder.host,
    lengthBytes: 1,
    load: { base: payloadBase.transport, offset: 13 },
    needs: [{ meta: metaKey.l4proto, value: protocolTcp }],
    names: tcpFlags,
  },
  // Of any protocol: what it means, a match of "meta l4proto" beside it says.
  "th dport": {
    typeName: "inet_service",
    type: dataType.inetService,
    byteOrder: byteOrder.big,
    lengthBytes: 2,
    load: { base: payloadBase.transport, offset: 2 },
  },
  "ct state": {
    typeName: "ct_state",
    type: dataType.trackingState,
    byteOrder: byteOrder.host,
    lengthBytes: 4,
    load: { tracking: trackingState },
    names: trackingStates,
  },
  "fib daddr type": {
    typeName: "fib_addrtype",
    type: dataType.fibAddressType,
    byteOrder: byteOrder.host,
    lengthBytes: 4,
    load: { fib: fibDestinationType },
    names: addressTypes,
  },
  "meta l4proto": {
    typeName: "inet_proto",
    type: dataType.inetProtocol,
    byteOrder: byteOrder.big,
    lengthBytes: 1,
    load: { meta: metaKey.l4proto },
    names: portProtocols,
  },
  "meta nfproto": {
    typeName: "nf_proto",
    type: dataType.nfproto,
    byteOrder: byteOrder.host,
    lengthBytes: 1,
    load: { meta: metaKey.nfproto },
    names: protocols,
  },
};

/** An element of a constant set; where `intervalEnd`, the first key after an interval. */
export interface ConstantElement {
  key: Uint8Array;
  intervalEnd: boolean;
}

/** The elements that stand for `values` of `field`, as nft makes them: single keys, or the borders of intervals where a network is among the values. */
export function constantElements(
  field: Field,
  values: readonly string[],
): { interval: boolean; elements: ConstantElement[] } {
  if (field.names !== undefined) {
    const keys = values.map((value) => namedKey(field, value));
    return { interval: false, elements: keys.map((key) => ({ key, intervalEnd: false })) };
  }
  if (values.every((value) => parseIp(value) !== undefined)) {
    const keys = values.map((value) => ipBytes(present(parseIp(value), value)));
    return { interval: false, elements: keys.map((key) => ({ key, intervalEnd: false })) };
  }
  return { interval: true, elements: intervalBorders(values.map(asCidr)) };
}

/** The bytes of the value that has this name. */
export function namedKey(field: Field, name: string): Uint8Array {
  return numberKey(field, present(field.names?.[name], `a number for ${name}`));
}

/** The bytes of a number, in the order that the kernel holds the field in. */
export function numberKey({ lengthBytes, byteOrder: order }: Field, value: number): Uint8Array {
  const key = Buffer.alloc(lengthBytes);
  if (order === byteOrder.host && endianness() === "LE") key.writeUIntLE(value, 0, lengthBytes);
  else key.writeUIntBE(value, 0, lengthBytes);
  return key;
}

/** One value for each field of a key: a number, an address, or the name of a link. */
export type KeyValues = readonly (string | number)[];

/** The key as a set holds it: each field begins at the next multiple of four bytes. */
export function keyBytes(key: readonly FieldName[], values: KeyValues): Uint8Array {
  assert(key.length === values.length, `as many values as the key has fields: ${key.join(" . ")}`);
  const bytes = Buffer.alloc(keyLength(key));
  let at = 0;
  for (const [index, name] of key.entries()) {
    bytes.set(valueKey(fields[name], values[index] ?? 0), at);
    at += paddedLength(fields[name]);
  }
  return bytes;
}

/** Bytes of a key of these fields. */
export function keyLength(key: readonly FieldName[]): number {
  return key.reduce((length, name) => length + paddedLength(fields[name]), 0);
}

/** Bytes that a field takes in a key of several. */
export function paddedLength({ lengthBytes }: Field): number {
  return (lengthBytes + 3) & ~3;
}

function valueKey(field: Field, value: string | number): Uint8Array {
  if (typeof value === "number") return numberKey(field, value);
  const bytes = field.type === dataType.ifname ? Buffer.from(value) : ipBytes(present(parseIp(value), value));
  const fits = field.type === dataType.ifname ? bytes.length < field.lengthBytes : bytes.length === field.lengthBytes;
  assert(fits, `${value} is a value of ${field.typeName}`);
  return bytes;
}

function asCidr(value: string): Cidr {
  const ip = parseIp(value);
  return present(ip === undefined ? ownCidr(value) : hostCidr(ip), `an address or network in ${value}`);
}

/**
 * Borders in ascending order; networks that overlap or touch become one interval, as nft has it in such sets. The kernel's tree looks
 * to the left of a key, so a first interval above zero is preceded by an end at zero.
 */
function intervalBorders(networks: readonly Cidr[]): ConstantElement[] {
  const [first] = networks;
  const family = cidrFamily(present(first, "a value"));
  const limit = 1n << BigInt(addressBits(family));
  const elements: ConstantElement[] = [];
  const border = (at: bigint, intervalEnd: boolean): void => {
    elements.push({ key: ipBytes(ipFromNumber(family, at)), intervalEnd });
  };
  const spans = joinSpans(networks.map(spanOf));
  if (spans[0]?.from !== 0n) border(0n, true);
  for (const { from, end } of spans) {
    border(from, false);
    if (end < limit) border(end, true);
  }
  return elements;
}
