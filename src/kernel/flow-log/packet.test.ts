// Heads of packets from bytes: each protocol, fragments, extension headers, and whatever else somebody may send.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { icmpMessage, ipv4, ipv6, withPorts } from "../../../test/packet-bytes.ts";
import type { PacketHead } from "../flow-log-contract.ts";
import { readPacket } from "./packet.ts";

const ends4 = { source: "10.4.1.2", destination: "10.4.1.3" };
const ends6 = { source: "fd00:10:4:1::2", destination: "fd00:10:4:1::3" };
const ports = { sourcePort: 40_000, destinationPort: 5432 };
const segment = withPorts(40_000, 5432);
/** An extension header of 8 bytes that says what follows. */
const header = (next: number): Buffer => Buffer.from([next, 0, 0, 0, 0, 0, 0, 0]);
const fragment = (next: number, at: number): Buffer => {
  const bytes = header(next);
  bytes.writeUInt16BE(at | 1, 2);
  return bytes;
};
const [icmp, tcp, udp, icmpv6, sctp] = [1, 6, 17, 58, 132];

const packets: Record<string, { bytes: Buffer; head: Omit<PacketHead, "source" | "destination"> | undefined }> = {
  TCP: { bytes: ipv4(tcp, segment), head: { protocol: tcp, ...ports } },
  UDP: { bytes: ipv4(udp, segment.subarray(0, 8)), head: { protocol: udp, ...ports } },
  SCTP: { bytes: ipv4(sctp, segment), head: { protocol: sctp, ...ports } },
  ICMP: { bytes: ipv4(icmp, icmpMessage(3, 4)), head: { protocol: icmp, icmp: { type: 3, code: 4 } } },
  "a protocol without ports": { bytes: ipv4(47, segment), head: { protocol: 47 } },
  "options before TCP": {
    bytes: ipv4(tcp, segment, { options: Buffer.alloc(12, 1) }),
    head: { protocol: tcp, ...ports },
  },
  "the first fragment": { bytes: ipv4(tcp, segment, { fragmentAt: 0 }), head: { protocol: tcp, ...ports } },
  "a later fragment, whose bytes are no ports": {
    bytes: ipv4(tcp, segment, { fragmentAt: 8 }),
    head: { protocol: tcp },
  },
  "TCP that is cut within its ports": { bytes: ipv4(tcp, segment).subarray(0, 23), head: { protocol: tcp } },
  "UDP whose packet ends before its ports, in a longer frame": {
    bytes: Buffer.concat([ipv4(udp, Buffer.alloc(2)), segment]),
    head: { protocol: udp },
  },
  "ICMP without a byte": { bytes: ipv4(icmp, Buffer.alloc(0)), head: { protocol: icmp } },
  "IPv6 TCP": { bytes: ipv6(tcp, segment), head: { protocol: tcp, ...ports } },
  ICMPv6: { bytes: ipv6(icmpv6, icmpMessage(128, 0)), head: { protocol: icmpv6, icmp: { type: 128, code: 0 } } },
  "IPv6 by way of hop-by-hop, routing and destination options": {
    bytes: ipv6(0, Buffer.concat([header(43), header(60), header(udp), segment])),
    head: { protocol: udp, ...ports },
  },
  "an authentication header, which counts in words of its own": {
    bytes: ipv6(51, Buffer.concat([Buffer.from([tcp, 4]), Buffer.alloc(22), segment])),
    head: { protocol: tcp, ...ports },
  },
  "the first fragment of IPv6": {
    bytes: ipv6(44, Buffer.concat([fragment(udp, 0), segment])),
    head: { protocol: udp, ...ports },
  },
  "a later fragment of IPv6": {
    bytes: ipv6(44, Buffer.concat([fragment(udp, 8), segment])),
    head: { protocol: udp },
  },
  "an extension header that is cut": { bytes: ipv6(0, header(tcp).subarray(0, 5)), head: { protocol: 0 } },
  "an extension header that is longer than the packet": {
    bytes: ipv6(60, Buffer.from([tcp, 200, 0, 0, 0, 0, 0, 0])),
    head: { protocol: tcp },
  },
  "more extension headers than anybody needs": {
    bytes: ipv6(60, Buffer.concat([...Array.from({ length: 20 }, () => header(60)), header(tcp), segment])),
    head: { protocol: 60 },
  },
  "encrypted, or nothing more": { bytes: ipv6(59, Buffer.alloc(0)), head: { protocol: 59 } },
  "no bytes": { bytes: Buffer.alloc(0), head: undefined },
  "half an IPv4 head": { bytes: ipv4(tcp, segment).subarray(0, 19), head: undefined },
  "half an IPv6 head": { bytes: ipv6(tcp, segment).subarray(0, 39), head: undefined },
  "no version of IP": { bytes: Buffer.alloc(60, 0x55), head: undefined },
  "a head that says it is shorter than one": {
    bytes: Buffer.from(ipv4(tcp, segment)).fill(0x44, 0, 1),
    head: undefined,
  },
  "a packet that says it is shorter than its head": {
    bytes: Buffer.from(ipv4(tcp, segment)).fill(0, 2, 4),
    head: undefined,
  },
};

for (const [name, { bytes, head }] of Object.entries(packets)) {
  void test(name, () => {
    const ends = (bytes[0] ?? 0) >> 4 === 6 ? ends6 : ends4;
    assert.deepEqual(readPacket(bytes), head === undefined ? undefined : { ...ends, ...head });
  });
}

const wholePackets = fc
  .record({
    six: fc.boolean(),
    protocol: fc.constantFrom(tcp, udp, sctp),
    sourcePort: fc.nat(65_535),
    destinationPort: fc.nat(65_535),
    extensions: fc.array(fc.constantFrom(0, 43, 60), { maxLength: 10 }),
  })
  .map(({ six, protocol, sourcePort, destinationPort, extensions }) => {
    const payload = withPorts(sourcePort, destinationPort);
    const chain = extensions.map((_, index) => header(extensions[index + 1] ?? protocol));
    const bytes = six ? ipv6(extensions[0] ?? protocol, Buffer.concat([...chain, payload])) : ipv4(protocol, payload);
    return { bytes, extensions: six ? extensions.length : 0, head: { protocol, sourcePort, destinationPort } };
  });

void test("a whole packet is read whole, up to eight extension headers; cut anywhere it never says another port", () => {
  fc.assert(
    fc.property(wholePackets, fc.nat(200), ({ bytes, extensions, head }, cutAt) => {
      const whole = readPacket(bytes);
      if (extensions <= 8)
        assert.deepEqual({ ...whole, source: 0, destination: 0 }, { ...head, source: 0, destination: 0 });
      const cut = readPacket(bytes.subarray(0, cutAt));
      if (cut === undefined) return;
      assert.deepEqual([cut.source, cut.destination], [whole?.source, whole?.destination]);
      if (cut.destinationPort !== undefined) assert.deepEqual(cut, whole);
    }),
    { numRuns: 3000 },
  );
});

void test("whatever the bytes, reading them throws nothing and says nothing impossible", () => {
  const damaged = fc
    .tuple(wholePackets, fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 6 }))
    .map(([{ bytes }, damage]) => {
      for (const [at, value] of damage) if (at < bytes.length) bytes[at] = value;
      return bytes;
    });
  const any = fc.uint8Array({ maxLength: 160 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.oneof(damaged, any), (bytes) => {
      const head = readPacket(bytes);
      if (head === undefined) return;
      assert.ok(head.protocol >= 0 && head.protocol <= 255);
      assert.equal(head.source.includes(":"), head.destination.includes(":"));
      assert.ok(head.destinationPort === undefined || head.icmp === undefined);
    }),
    { numRuns: 5000 },
  );
});
