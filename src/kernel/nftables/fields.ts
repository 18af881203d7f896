// What a rule can look at in a packet: where it lies, how long it is, what must hold before it may be read, which values it has.

import { endianness } from "node:os";
import { present } from "../../base/assert.ts";
import { type Cidr, cidrBase, cidrSize, hostCidr, parseCidr } from "../../net/cidr.ts";
import { addressBits, ipBytes, ipFamily, ipFromNumber, ipToNumber, parseIp } from "../../net/ip.ts";
import { byteOrder, dataType, fibDestinationType, metaKey, payloadBase } from "./constants.ts";

export interface Field {
  /** nft's name of the type, for sets in text. */
  typeName: string;
  /** nft's number of the type. */
  type: number;
  byteOrder: number;
  lengthBytes: number;
  load: { meta: number } | { base: number; offset: number } | { fib: { result: number; flags: number } };
  /** A meta value of one byte that must hold first, or the bytes would mean something else. */
  needs?: { meta: number; value: number };
  /** The values, where they have names; else they are addresses. */
  names?: Readonly<Record<string, number>>;
}

/** NFPROTO_* of linux/netfilter.h. */
const protocols = { ipv4: 2, ipv6: 10 } as const;

/** IANA: protocols that have ports. */
const portProtocols = { tcp: 6, udp: 17, sctp: 132 } as const;

/** RTN_* of linux/rtnetlink.h. */
const addressTypes = { local: 2 } as const;

/** IANA: the protocol number of ICMPv6, and the message types of neighbour and listener discovery. */
const protocolIcmpv6 = 58;
const icmpv6Types = {
  "mld-listener-report": 131,
  "nd-router-solicit": 133,
  "nd-neighbor-solicit": 135,
  "nd-neighbor-advert": 136,
  "mld2-listener-report": 143,
} as const;

const v4 = { typeName: "ipv4_addr", type: dataType.ipv4, byteOrder: byteOrder.big, lengthBytes: 4 };
const v6 = { typeName: "ipv6_addr", type: dataType.ipv6, byteOrder: byteOrder.big, lengthBytes: 16 };
const isV4 = { meta: metaKey.nfproto, value: protocols.ipv4 };
const isV6 = { meta: metaKey.nfproto, value: protocols.ipv6 };
const network = (offset: number): Field["load"] => ({ base: payloadBase.network, offset });

export type FieldName =
  | "iifname"
  | "ip saddr"
  | "ip daddr"
  | "ip6 saddr"
  | "ip6 daddr"
  | "icmpv6 type"
  | "fib daddr type"
  | "meta l4proto"
  | "meta nfproto";

/** By the names that nft gives them. Offsets are those of the IPv4, IPv6 and ICMPv6 headers (RFC 791, 8200, 4443). */
export const fields: Readonly<Record<FieldName, Field>> = {
  iifname: {
    typeName: "ifname",
    type: dataType.ifname,
    byteOrder: byteOrder.host,
    lengthBytes: 16,
    load: { meta: metaKey.iifname },
  },
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
    needs: { meta: metaKey.l4proto, value: protocolIcmpv6 },
    names: icmpv6Types,
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
export function namedKey({ names = {}, lengthBytes, byteOrder: order }: Field, name: string): Uint8Array {
  const value = present(names[name], `a number for ${name}`);
  const key = Buffer.alloc(lengthBytes);
  if (order === byteOrder.host && endianness() === "LE") key.writeUIntLE(value, 0, lengthBytes);
  else key.writeUIntBE(value, 0, lengthBytes);
  return key;
}

function asCidr(value: string): Cidr {
  const ip = parseIp(value);
  return present(ip === undefined ? parseCidr(value) : hostCidr(ip), `an address or network in ${value}`);
}

/**
 * Borders in ascending order; networks that overlap or touch become one interval, as nft has it in such sets. The kernel's tree looks
 * to the left of a key, so a first interval above zero is preceded by an end at zero.
 */
function intervalBorders(networks: readonly Cidr[]): ConstantElement[] {
  const [first] = networks;
  const family = ipFamily(cidrBase(present(first, "a value")));
  const limit = 1n << BigInt(addressBits(family));
  const elements: ConstantElement[] = [];
  const border = (at: bigint, intervalEnd: boolean): void => {
    elements.push({ key: ipBytes(ipFromNumber(family, at)), intervalEnd });
  };
  const spans = joined(networks);
  if (spans[0]?.from !== 0n) border(0n, true);
  for (const { from, end } of spans) {
    border(from, false);
    if (end < limit) border(end, true);
  }
  return elements;
}

/** From the first address to the one behind the last. */
interface Span {
  from: bigint;
  end: bigint;
}

function joined(networks: readonly Cidr[]): Span[] {
  const spans = networks.map((network): Span => {
    const from = ipToNumber(cidrBase(network));
    return { from, end: from + cidrSize(network) };
  });
  const apart: Span[] = [];
  for (const span of spans.toSorted((a, b) => (a.from < b.from ? -1 : 1))) {
    const last = apart.at(-1);
    if (last === undefined || span.from > last.end) apart.push({ ...span });
    else if (span.end > last.end) last.end = span.end;
  }
  return apart;
}
