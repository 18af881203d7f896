// Packets made by hand, byte for byte, and sent as they are from a namespace: fragments, protocols without sockets, errors about flows.

import type { TestContext } from "node:test";
import { present } from "../src/base/assert.ts";
import { ipBytes, parseIp } from "../src/net/ip.ts";
import { runIn } from "./masq-stage.ts";
import type { TestNetns } from "./netns.ts";

export const protocols = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
const fragmentHeader = 44;

export interface Ends {
  from: string;
  to: string;
}

/** Where a fragment lies in its packet, in bytes, of which there must be a multiple of 8 before the last. */
export interface Fragment {
  id: number;
  offset: number;
  more: boolean;
}

const be16 = (...values: number[]): Buffer => Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]));
const be32 = (value: number): Buffer => be16(value >>> 16, value & 0xffff);
const bytesOf = (text: string): Buffer => Buffer.from(ipBytes(present(parseIp(text), text)));
const isV6 = ({ to }: Ends): boolean => to.includes(":");

/** The checksum of IP and its companions (RFC 1071). */
function checksum(data: Buffer): number {
  let sum = 0;
  for (let at = 0; at < data.length; at += 2) sum += ((data[at] ?? 0) << 8) + (data[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return 0xffff ^ sum;
}

const pseudoHeader = ({ from, to }: Ends, protocol: number, length: number): Buffer =>
  Buffer.concat([bytesOf(from), bytesOf(to), be32(length), be32(protocol)]);

/** An IP packet, or one fragment of it; the kernel puts the checksum of IPv4 in. */
export function packet(ends: Ends, protocol: number, payload: Buffer, fragment?: Fragment): Buffer {
  const { id = 0, offset = 0, more = false } = fragment ?? {};
  const [source, target] = [bytesOf(ends.from), bytesOf(ends.to)];
  if (isV6(ends)) {
    const inner =
      fragment === undefined ? Buffer.alloc(0) : Buffer.concat([be16(protocol << 8, offset | +more), be32(id)]);
    const next = fragment === undefined ? protocol : fragmentHeader;
    const head = Buffer.concat([be32(0x6000_0000), be16(inner.length + payload.length, (next << 8) | 64)]);
    return Buffer.concat([head, source, target, inner, payload]);
  }
  const place = (offset / 8) | (more ? 0x2000 : 0);
  const head = Buffer.concat([be16(0x4500, 20 + payload.length, id, place, (64 << 8) | protocol, 0), source, target]);
  return Buffer.concat([head, payload]);
}

/** The packet cut at these places of its payload. */
export function fragments(
  ends: Ends,
  protocol: number,
  payload: Buffer,
  cuts: readonly number[],
  id: number,
): Buffer[] {
  return [0, ...cuts].map((offset, index) => {
    const end = cuts[index];
    return packet(ends, protocol, payload.subarray(offset, end), { id, offset, more: end !== undefined });
  });
}

/** A UDP datagram with that many bytes. */
export function udpDatagram(ends: Ends, source: number, target: number, length: number): Buffer {
  const head = be16(source, target, 8 + length, 0);
  const whole = Buffer.concat([head, Buffer.alloc(length, "x")]);
  const sum = checksum(Buffer.concat([pseudoHeader(ends, protocols.udp, whole.length), whole]));
  whole.writeUInt16BE(sum === 0 ? 0xffff : sum, 6);
  return whole;
}

/** Of RFC 9260: the common header and one chunk, with its checksum (CRC-32C). */
function sctpPacket(source: number, target: number, tag: number, chunk: Buffer): Buffer {
  const whole = Buffer.concat([be16(source, target), be32(tag), be32(0), chunk]);
  let crc = 0xffff_ffff;
  for (const byte of whole) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  whole.writeUInt32LE(~crc >>> 0, 8);
  return whole;
}

const initBody = (tag: number): Buffer => Buffer.concat([be32(tag), be32(65_536), be16(1, 1), be32(1)]);

/** The first packet of an association; `tag` is the caller's. */
export const sctpInit = (source: number, target: number, tag: number): Buffer =>
  sctpPacket(source, target, 0, Buffer.concat([be16(0x0100, 20), initBody(tag)]));

/** What the called one answers: `tag` is the caller's, the cookie is empty but for its head. */
export const sctpInitAck = (source: number, target: number, tag: number): Buffer =>
  sctpPacket(source, target, tag, Buffer.concat([be16(0x0200, 28), initBody(tag + 1), be16(7, 8), be32(0)]));

/** An error about a packet of which its receiver's side tells: `about` is that packet, whole or its beginning. */
export function icmpError(
  ends: Ends,
  { type, code, value = 0 }: { type: number; code: number; value?: number },
  about: Buffer,
): Buffer {
  const whole = Buffer.concat([be16((type << 8) | code, 0), be32(value), about.subarray(0, 512)]);
  const pseudo = isV6(ends) ? pseudoHeader(ends, protocols.icmpv6, whole.length) : Buffer.alloc(0);
  whole.writeUInt16BE(checksum(Buffer.concat([pseudo, whole])), 2);
  return packet(ends, isV6(ends) ? protocols.icmpv6 : protocols.icmp, whole);
}

/** Sends whole IP packets, one a line in hexadecimal digits after the address that they go to. */
const sender = `
import socket, sys
raw = {family: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) for family in (socket.AF_INET, socket.AF_INET6)}
print("ready", flush=True)
for line in sys.stdin:
    address, data = line.split()
    raw[socket.AF_INET6 if ":" in address else socket.AF_INET].sendto(bytes.fromhex(data), (address, 0))
    print("sent", flush=True)
`;

/** Gives what sends packets from `netns`, in order; settles when all of them have left. */
export async function openRaw(
  t: TestContext,
  netns: TestNetns,
): Promise<(to: string, packets: readonly Buffer[]) => Promise<void>> {
  const { say, hear } = await runIn(t, netns, sender);
  return async (to, packets) => {
    for (const one of packets) {
      say(`${to} ${one.toString("hex")}`);
      await hear();
    }
  };
}
