// The packet log on the wire: what is asked, what is read, and packets that are missing between two numbers.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { attribute, done, message } from "../../../test/netlink-bytes.ts";
import { ipv4, withPorts } from "../../../test/packet-bytes.ts";
import type { Logged } from "../flow-log-contract.ts";
import { createWriter, written } from "../netlink/codec.ts";
import { writeMessage } from "../netlink/message.ts";
import { createReader } from "./flow-log.ts";
import { listenRequest } from "./messages.ts";

const be32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
const packetBytes = ipv4(6, withPorts(40_000, 80));

interface Parts {
  prefix?: string;
  payload?: Buffer;
  links?: readonly [number, number];
}

/** A message of the log, as the kernel sends it: NFULNL_MSG_PACKET. */
function entry(sequence: number, { prefix = "deny ", payload = packetBytes, links }: Parts = {}): Buffer {
  return message(
    0x400,
    0,
    0,
    Buffer.concat([
      Buffer.from([2, 0, 0, 5]),
      attribute(1, Buffer.from([8, 0, 2, 0])), // hardware protocol and hook, which are not read
      attribute(10, Buffer.from(`${prefix}\0`)),
      ...(links === undefined ? [] : [attribute(4, be32(links[0])), attribute(5, be32(links[1]))]),
      attribute(12, be32(sequence)),
      attribute(9, payload),
    ]),
  );
}

const head = { source: "10.4.1.2", destination: "10.4.1.3", protocol: 6, sourcePort: 40_000, destinationPort: 80 };
const told = { what: "packet", outcome: "denied", head } as const;

void test("the group is asked for as libnetfilter_log does it, with a number on each packet", () => {
  const writer = createWriter();
  const settings = { group: 5, snapLenBytes: 128, bufferLenBytes: 16_384, flushMs: 100, flushPackets: 32 };
  writeMessage(writer, listenRequest(settings), 1);
  assert.equal(
    Buffer.from(written(writer)).subarray(16).toString("hex"),
    ["00000005", "0500010001000000", "0a0002000000008002000000", "0800030000004000"].join("") +
      ["080004000000000a", "0800050000000020", "0600060000010000"].join(""),
  );
});

void test("a datagram of many packets is read in order; a packet without links, of either outcome", () => {
  const datagram = Buffer.concat([
    entry(0, { links: [7, 9] }),
    entry(1, { prefix: "audit " }),
    message(done, 0, 0, Buffer.alloc(4)),
  ]);
  assert.deepEqual(createReader()(datagram), [
    { ...told, inLink: 7, outLink: 9 },
    { ...told, outcome: "audited" },
  ]);
});

void test("missing numbers are told as lost packets, at their place; the first number starts the count, and it goes round", () => {
  const read = createReader();
  assert.deepEqual(read(entry(4_294_967_293)), [told]);
  assert.deepEqual(read(Buffer.concat([entry(4_294_967_294), entry(2)])), [told, { what: "lost", packets: 3 }, told]);
  assert.deepEqual(read(entry(3)), [told]);
});

void test("what cannot be read is told as such, and counts among the numbers: no packet, another's prefix, a cut message", () => {
  const read = createReader();
  const unread = { what: "unread" };
  assert.deepEqual(read(entry(1, { payload: Buffer.alloc(3) })), [unread]);
  assert.deepEqual(read(entry(2, { prefix: "dropped " })), [unread]);
  assert.deepEqual(read(entry(3)), [told], "nothing was lost");
  assert.deepEqual(read(entry(4).subarray(0, 30)), [unread]);
  assert.deepEqual(read(message(0x400, 0, 0, Buffer.from([2]))), [unread]);
});

void test("whatever the bytes, reading them throws nothing", () => {
  const whole = Buffer.concat([entry(0, { links: [7, 9] }), entry(1)]);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }), (damage) => {
      const damaged = Buffer.from(whole);
      for (const [at, value] of damage) damaged[at] = value;
      const all: Logged[] = createReader()(damaged);
      assert.ok(all.length <= 4);
    }),
    { numRuns: 3000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void createReader()(Buffer.from(bytes))));
});
