// IP addresses as canonical text: parse once at the border, then compare with ===.

import { assert, present } from "../base/assert.ts";

/** An address in its one canonical spelling: dotted decimal, or RFC 5952 for IPv6 (always hexadecimal, never a dotted tail). */
export type Ip = string & { readonly __ip: unique symbol };

/** Longer text is no address and no network, and is refused unread (the longest of either is 49 characters). */
export const ipTextLengthMax = 64;

const dot = 0x2e;
const colon = 0x3a;

/**
 * Reads an address, strictly: no leading zeros in IPv4, no zone, no brackets, no spaces.
 * IPv4-mapped IPv6 (::ffff:0:0/96) is refused in every spelling: one host must have one name.
 */
export function parseIp(text: string): Ip | undefined {
  if (text.length > ipTextLengthMax) return undefined;
  if (!text.includes(":")) {
    // Without leading zeros there is one spelling only, so the text is canonical already.
    return v4Number(text) === undefined ? undefined : branded(text);
  }
  const groups = v6Groups(text);
  if (groups === undefined || isMapped(groups)) return undefined;
  return formatGroups(groups);
}

export function ipFamily(ip: Ip): 4 | 6 {
  return ip.includes(":") ? 6 : 4;
}

/** The address in network byte order: 4 or 16 bytes. */
export function ipBytes(ip: Ip): Uint8Array {
  if (!ip.includes(":")) {
    const value = present(v4Number(ip), `a canonical address in "${ip}"`);
    return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
  }
  const groups = present(v6Groups(ip), `a canonical address in "${ip}"`);
  const bytes = new Uint8Array(16);
  groups.forEach((group, index) => {
    bytes[index * 2] = group >>> 8;
    bytes[index * 2 + 1] = group; // a byte array keeps the low 8 bits
  });
  return bytes;
}

/** The address of 4 or 16 bytes in network byte order. Total: what the kernel holds has a name here, IPv4-mapped included (which parseIp refuses). */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length === 4) return branded(bytes.join("."));
  assert(bytes.length === 16, `an address of 4 or 16 bytes, got ${bytes.length}`);
  const groups = new Uint16Array(8);
  for (let index = 0; index < 8; index += 1) {
    groups[index] = ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0);
  }
  return formatGroups(groups);
}

/** The address as a number: 0 … 2^32-1, or 0 … 2^128-1. The family is not in it. */
export function ipToNumber(ip: Ip): bigint {
  if (!ip.includes(":")) return BigInt(present(v4Number(ip), `a canonical address in "${ip}"`));
  let value = 0n;
  for (const group of present(v6Groups(ip), `a canonical address in "${ip}"`)) value = (value << 16n) | BigInt(group);
  return value;
}

/** The address of that number, which must fit the family. */
export function ipFromNumber(family: 4 | 6, value: bigint): Ip {
  assert(value >= 0n && value >> BigInt(addressBits(family)) === 0n, `${value} is an IPv${family} address`);
  if (family === 4) {
    const low = Number(value);
    return branded(`${low >>> 24}.${(low >>> 16) & 0xff}.${(low >>> 8) & 0xff}.${low & 0xff}`);
  }
  const groups = new Uint16Array(8);
  for (let index = 7, rest = value; index >= 0; index -= 1, rest >>= 16n) groups[index] = Number(rest & 0xffffn);
  return formatGroups(groups);
}

/** Bits of an address: 32 or 128. */
export function addressBits(family: 4 | 6): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** 169.254.0.0/16 or fe80::/10. */
export function isLinkLocal(ip: Ip): boolean {
  const [first = 0, second = 0] = ipBytes(ip);
  return ipFamily(ip) === 4 ? first === 169 && second === 254 : first === 0xfe && (second & 0xc0) === 0x80;
}

/**
 * True for an address that one host can have beyond its own link, private and unique-local ranges included:
 * not this-network (0/8), loopback, link-local, multicast, 240/4 with broadcast, "::" or IPv4-mapped.
 */
export function isGlobalUnicast(ip: Ip): boolean {
  if (isLinkLocal(ip)) return false;
  const bytes = ipBytes(ip);
  const [first = 0] = bytes;
  if (bytes.length === 4) return first !== 0 && first !== 127 && first < 224;
  if (first === 0xff) return false;
  const inFirstBlock = bytes.subarray(0, 10).every((byte) => byte === 0); // "::", "::1", mapped and the retired compatible form
  return !inFirstBlock;
}

/** The number of strict dotted-decimal text. */
function v4Number(text: string): number | undefined {
  if (text.length > 15) return undefined;
  let value = 0;
  let octet = -1; // -1: no digit yet
  let dots = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === dot) {
      if (octet < 0 || dots === 3) return undefined;
      value = value * 256 + octet;
      octet = -1;
      dots += 1;
      continue;
    }
    const digit = code - 0x30;
    if (digit < 0 || digit > 9 || octet === 0) return undefined; // a digit after a zero is a leading zero
    octet = octet < 0 ? digit : octet * 10 + digit;
    if (octet > 255) return undefined;
  }
  return octet < 0 || dots !== 3 ? undefined : value * 256 + octet;
}

/** The eight groups of IPv6 text of at most `ipTextLengthMax` characters (RFC 4291 section 2.2). */
function v6Groups(text: string): Uint16Array | undefined {
  const groups = new Uint16Array(8);
  const { length } = text;
  let count = 0;
  let gap = -1; // where "::" stands
  let at = 0;
  if (text.startsWith("::")) {
    gap = 0;
    at = 2;
  }
  while (at < length) {
    if (count === 8) return undefined;
    const start = at;
    let value = 0;
    for (let digit = hexDigit(text, at); digit >= 0 && at - start < 4; digit = hexDigit(text, at)) {
      value = value * 16 + digit;
      at += 1;
    }
    if (at === start) return undefined;
    if (text.charCodeAt(at) === dot) {
      const tail = v4Number(text.slice(start));
      if (tail === undefined || count > 6) return undefined;
      groups[count] = tail >>> 16;
      groups[count + 1] = tail;
      count += 2;
      break;
    }
    groups[count] = value;
    count += 1;
    if (at === length) break;
    if (text.charCodeAt(at) !== colon || at + 1 === length) return undefined;
    at += 1;
    if (text.charCodeAt(at) !== colon) continue;
    if (gap >= 0) return undefined;
    gap = count;
    at += 1;
  }
  if (gap < 0) return count === 8 ? groups : undefined;
  if (count === 8) return undefined; // "::" stands for at least one group
  const tailStart = 8 - (count - gap);
  groups.copyWithin(tailStart, gap, count);
  return groups.fill(0, gap, tailStart);
}

/** Value of the hexadecimal digit at `at`, or -1. */
function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at); // NaN past the end: every comparison is false
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function isMapped(groups: Uint16Array): boolean {
  return groups[5] === 0xffff && groups.subarray(0, 5).every((group) => group === 0);
}

/** RFC 5952 section 4: lower case, no leading zeros, the longest run of two or more zero groups as "::", the first one on a tie. */
function formatGroups(groups: Uint16Array): Ip {
  let runStart = -1;
  let runLength = 1;
  for (let index = 0; index < 8; index += 1) {
    let end = index;
    while (end < 8 && groups[end] === 0) end += 1;
    if (end - index > runLength) {
      runStart = index;
      runLength = end - index;
    }
    index = Math.max(index, end);
  }
  let text = "";
  for (let index = 0; index < 8; index += 1) {
    if (index === runStart) {
      text += "::";
      index += runLength - 1;
      continue;
    }
    if (text !== "" && !text.endsWith(":")) text += ":";
    text += (groups[index] ?? 0).toString(16);
  }
  return branded(text);
}

/** Marks text that this file has read or made as canonical. */
function branded(canonical: string): Ip {
  return canonical as Ip; // oxlint-disable-line typescript/no-unsafe-type-assertion -- the one place where the brand is given
}
