// Packets as bytes, for tests of what reads them.

import { ipBytes } from "../src/net/ip.ts";
import { ip } from "./kernel-stage.ts";

/** An IPv4 packet around `payload`; `options` is a multiple of 4 bytes long. */
export function ipv4(
  protocol: number,
  payload: Buffer,
  { source = "10.4.1.2", destination = "10.4.1.3", fragmentAt = 0, options = Buffer.alloc(0) } = {},
): Buffer {
  const head = Buffer.alloc(20);
  head.writeUInt8(0x40 | (5 + options.length / 4), 0);
  head.writeUInt16BE(20 + options.length + payload.length, 2);
  head.writeUInt16BE(fragmentAt / 8, 6);
  head.writeUInt8(64, 8);
  head.writeUInt8(protocol, 9);
  head.set(ipBytes(ip(source)), 12);
  head.set(ipBytes(ip(destination)), 16);
  return Buffer.concat([head, options, payload]);
}

/** An IPv6 packet; `payload` begins with extension headers, if any. */
export function ipv6(
  next: number,
  payload: Buffer,
  { source = "fd00:10:4:1::2", destination = "fd00:10:4:1::3" } = {},
): Buffer {
  const head = Buffer.alloc(40);
  head.writeUInt8(0x60, 0);
  head.writeUInt16BE(payload.length, 4);
  head.writeUInt8(next, 6);
  head.writeUInt8(64, 7);
  head.set(ipBytes(ip(source)), 8);
  head.set(ipBytes(ip(destination)), 24);
  return Buffer.concat([head, payload]);
}

/** The begin of TCP, UDP or SCTP, long enough for any of them. */
export function withPorts(sourcePort: number, destinationPort: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt16BE(sourcePort, 0);
  bytes.writeUInt16BE(destinationPort, 2);
  return bytes;
}

export const icmpMessage = (type: number, code: number): Buffer => Buffer.from([type, code, 0, 0, 0, 0, 0, 0]);
