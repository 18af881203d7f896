// Networks as canonical text ("10.0.0.0/24"), and the arithmetic of addresses within them.

import { assert } from "../base/assert.ts";
import {
  type Ip,
  addressBits,
  ipBytes,
  ipFamily,
  ipFromBytes,
  ipFromNumber,
  ipTextLengthMax,
  ipToNumber,
  parseIp,
} from "./ip.ts";

/** A network: canonical address with all host bits zero, "/", prefix length. Two networks are equal where their texts are. */
export type Cidr = string & { readonly __cidr: unique symbol };

/** An address together with the prefix length of the network it lives in, as interfaces carry it. */
export interface InterfaceAddress {
  address: Ip;
  prefix: number;
}

/** Reads a network, strictly: the address as parseIp reads it, a decimal prefix length without sign or leading zero, host bits zero. */
export function parseCidr(text: string): Cidr | undefined {
  const parsed = parseInterfaceAddress(text);
  if (parsed === undefined) return undefined;
  const network = cidrOf(parsed.address, parsed.prefix);
  return cidrBase(network) === parsed.address ? network : undefined;
}

/**
 * Reads text that this program has made of a network. As parseCidr, but IPv4-mapped networks are read, too: they can be what is left of
 * a larger one when parts are cut out (`spansToCidrs`).
 */
export function ownCidr(text: string): Cidr | undefined {
  const mapped = /^::ffff:([0-9a-f:]+)\/(9[6-9]|1[01][0-9]|12[0-8])$/.exec(text);
  if (mapped === null) return parseCidr(text);
  // The same bits under another prefix, which parseCidr does not refuse.
  return parseCidr(`::fffe:${mapped[1]}/${mapped[2]}`) === undefined ? undefined : (text as Cidr); // oxlint-disable-line typescript/no-unsafe-type-assertion -- just read
}

/** Reads "10.0.0.5/24": as parseCidr, but host bits may be set. */
export function parseInterfaceAddress(text: string): InterfaceAddress | undefined {
  if (text.length > ipTextLengthMax) return undefined;
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = parseIp(text.slice(0, slash));
  if (address === undefined) return undefined;
  const digits = text.slice(slash + 1);
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(digits)) return undefined;
  const prefix = Number(digits);
  return prefix > addressBits(ipFamily(address)) ? undefined : { address, prefix };
}

/** The network of `prefix` bits that `ip` lies in. */
export function cidrOf(ip: Ip, prefix: number): Cidr {
  const bits = addressBits(ipFamily(ip));
  assert(Number.isInteger(prefix) && prefix >= 0 && prefix <= bits, `${prefix} is a prefix length for ${ip}`);
  if (prefix === bits) return branded(ip, bits);
  const bytes = ipBytes(ip);
  const whole = prefix >>> 3; // bytes that stay as they are
  bytes[whole] = (bytes[whole] ?? 0) & highBits(prefix & 7);
  bytes.fill(0, whole + 1);
  return branded(ipFromBytes(bytes), prefix);
}

/** The network of `prefix` bits that begins at the address of that number. */
export function cidrAt(family: 4 | 6, first: bigint, prefix: number): Cidr {
  const hostBits = BigInt(addressBits(family) - prefix);
  assert((first >> hostBits) << hostBits === first, `a network of ${prefix} bits begins at ${first}`);
  return branded(ipFromNumber(family, first), prefix);
}

/** The network of that one address: /32 or /128. */
export function hostCidr(ip: Ip): Cidr {
  return branded(ip, addressBits(ipFamily(ip)));
}

/** The first address. */
export function cidrBase(cidr: Cidr): Ip {
  const base = cidr.slice(0, cidr.indexOf("/"));
  return base as Ip; // oxlint-disable-line typescript/no-unsafe-type-assertion -- a Cidr begins with a canonical address
}

export function cidrPrefix(cidr: Cidr): number {
  return Number(cidr.slice(cidr.indexOf("/") + 1));
}

export function cidrFamily(cidr: Cidr): 4 | 6 {
  return ipFamily(cidrBase(cidr));
}

/** How many addresses it holds, network and broadcast address included. */
export function cidrSize(cidr: Cidr): bigint {
  return 1n << BigInt(addressBits(cidrFamily(cidr)) - cidrPrefix(cidr));
}

/** False for an address of the other family. */
export function cidrContains(cidr: Cidr, ip: Ip): boolean {
  return samePrefix(cidrBase(cidr), ip, cidrPrefix(cidr));
}

/** Tells of each address whether any of these networks contains it: for many addresses, since each network is read only once. */
export function containedIn(cidrs: readonly Cidr[]): (ip: Ip) => boolean {
  const networks = cidrs.map((cidr) => ({ base: ipBytes(cidrBase(cidr)), prefix: cidrPrefix(cidr) }));
  return (ip) => {
    const bytes = ipBytes(ip);
    return networks.some(({ base, prefix }) => beginAlike(base, bytes, prefix));
  };
}

/** True where the two share an address: then one contains the other. */
export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  return samePrefix(cidrBase(a), cidrBase(b), Math.min(cidrPrefix(a), cidrPrefix(b)));
}

/** The address `offset` steps after the first; `offset` must lie within the network. */
export function addressAt(cidr: Cidr, offset: bigint): Ip {
  assert(offset >= 0n && offset < cidrSize(cidr), `offset ${offset} lies in ${cidr}`);
  const base = cidrBase(cidr);
  return ipFromNumber(ipFamily(base), ipToNumber(base) + offset);
}

/** How many steps after the first address `ip` is; `ip` must lie within the network. */
export function offsetOf(cidr: Cidr, ip: Ip): bigint {
  assert(cidrContains(cidr, ip), `${ip} lies in ${cidr}`);
  return ipToNumber(ip) - ipToNumber(cidrBase(cidr));
}

/** True where both are of one family and their first `prefix` bits are equal. */
function samePrefix(a: Ip, b: Ip, prefix: number): boolean {
  return beginAlike(ipBytes(a), ipBytes(b), prefix);
}

/** As `samePrefix`, of addresses in network byte order. */
function beginAlike(left: Uint8Array, right: Uint8Array, prefix: number): boolean {
  if (left.length !== right.length) return false;
  const whole = prefix >>> 3;
  for (let at = 0; at < whole; at += 1) {
    if (left[at] !== right[at]) return false;
  }
  const differing = (left[whole] ?? 0) ^ (right[whole] ?? 0); // past the end both are absent: no difference
  return (differing & highBits(prefix & 7)) === 0;
}

/** A byte whose first `count` bits (0-7) are set. */
function highBits(count: number): number {
  return (0xff00 >>> count) & 0xff;
}

/** `base` must be the network's first address. */
function branded(base: Ip, prefix: number): Cidr {
  return `${base}/${prefix}` as Cidr; // oxlint-disable-line typescript/no-unsafe-type-assertion -- the one place where the brand is given
}
