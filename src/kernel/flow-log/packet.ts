// Reads the head of a packet from bytes that anybody can have sent: addresses, protocol, ports or message. Pure.

import { ipFromBytes } from "../../net/ip.ts";
import { hasPorts, protocols } from "../../policy/port.ts";
import type { PacketHead } from "../flow-log-contract.ts";

/** Smallest heads: IPv4 without options (RFC 791), IPv6 (RFC 8200). */
const headLen = { 4: 20, 6: 40 } as const;
/** Extension headers that are passed over; the kernel's own rules look no further than we do. */
const extensionsMax = 8;
/** IPv6 headers that say what follows them (RFC 8200, RFC 4302, RFC 6275). */
const extension = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, options: 60, mobility: 135 } as const;

/** Where the protocol's own header begins, and which it is; no offset where it is not in these bytes. */
interface Transport {
  protocol: number;
  at?: number;
}

/**
 * Reads a packet from its IP header on; it may be cut short anywhere. Undefined where not even addresses and protocol can be read,
 * or where the header contradicts itself.
 */
export function readPacket(bytes: Buffer): PacketHead | undefined {
  const version = bytes.length === 0 ? 0 : bytes.readUInt8(0) >> 4;
  if (version === 4) return readIpv4(bytes);
  return version === 6 ? readIpv6(bytes) : undefined;
}

function readIpv4(bytes: Buffer): PacketHead | undefined {
  if (bytes.length < headLen[4]) return undefined;
  const ownLen = (bytes.readUInt8(0) & 15) * 4;
  const totalLen = bytes.readUInt16BE(2);
  if (ownLen < headLen[4] || totalLen < ownLen) return undefined;
  const protocol = bytes.readUInt8(9);
  const isLaterFragment = (bytes.readUInt16BE(6) & 0x1fff) !== 0;
  return {
    source: ipFromBytes(bytes.subarray(12, 16)),
    destination: ipFromBytes(bytes.subarray(16, 20)),
    // What lies behind the packet's own end is no part of it.
    ...ends(bytes.subarray(0, totalLen), isLaterFragment ? { protocol } : { protocol, at: ownLen }),
  };
}

function readIpv6(bytes: Buffer): PacketHead | undefined {
  if (bytes.length < headLen[6]) return undefined;
  const own = bytes.subarray(0, headLen[6] + bytes.readUInt16BE(4));
  return {
    source: ipFromBytes(bytes.subarray(8, 24)),
    destination: ipFromBytes(bytes.subarray(24, 40)),
    ...ends(own, transportOf(own)),
  };
}

/** Passes over extension headers. Where their chain is cut, the last number that was read stands for the protocol. */
function transportOf(bytes: Buffer): Transport {
  let protocol = bytes.readUInt8(6);
  let at: number = headLen[6];
  for (let passed = 0; passed <= extensionsMax; passed += 1) {
    if (!isExtension(protocol)) return { protocol, at };
    if (bytes.length < at + 8) return { protocol };
    const next = bytes.readUInt8(at);
    if (protocol === extension.fragment && (bytes.readUInt16BE(at + 2) & 0xfff8) !== 0) return { protocol: next };
    at += extensionLen(protocol, bytes.readUInt8(at + 1));
    protocol = next;
  }
  return { protocol };
}

const extensionNumbers: ReadonlySet<number> = new Set(Object.values(extension));
const isExtension = (protocol: number): boolean => extensionNumbers.has(protocol);

/** Each kind counts its length in its own way. */
function extensionLen(protocol: number, lenField: number): number {
  if (protocol === extension.fragment) return 8;
  return protocol === extension.authentication ? (lenField + 2) * 4 : (lenField + 1) * 8;
}

function ends(bytes: Buffer, { protocol, at }: Transport): Omit<PacketHead, "source" | "destination"> {
  if (at === undefined) return { protocol };
  if (hasPorts(protocol) && bytes.length >= at + 4) {
    return { protocol, sourcePort: bytes.readUInt16BE(at), destinationPort: bytes.readUInt16BE(at + 2) };
  }
  const isIcmp = protocol === protocols.icmp || protocol === protocols.icmpv6;
  if (isIcmp && bytes.length >= at + 2) {
    return { protocol, icmp: { type: bytes.readUInt8(at), code: bytes.readUInt8(at + 1) } };
  }
  return { protocol };
}
