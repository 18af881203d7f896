// Entries as Linux 6.18 lists them and as conntrack 1.4.7 asks for and deletes them, captured with strace in a namespace of its own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { faultOf, ip } from "../../../test/kernel-stage.ts";
import { connection } from "../../../test/conntrack-entries.ts";
import type { Connection } from "../contract.ts";
import { createWriter, written } from "../netlink/codec.ts";
import { type Request, writeMessage } from "../netlink/message.ts";
import { createMatcher } from "./matcher.ts";
import { connectionId, decodeConnection, deleteConnectionRequest, dumpConnectionsRequest } from "./messages.ts";

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(/\s/g, ""), "hex");

/** The message without length, sequence and port, as in the other captures: type and flags, then the body. */
function sent(request: Request): string {
  const writer = createWriter();
  writeMessage(writer, request, 1);
  const message = written(writer);
  assert.equal(message.readUInt32LE(0), message.length);
  return message.subarray(4, 8).toString("hex") + message.subarray(16).toString("hex");
}

interface Golden {
  what: string;
  /** The body of the kernel's message. */
  body: Buffer;
  /** Where the original tuple lies in it, with its attribute header. */
  tupleLen: number;
  id: number;
  connection: Connection;
  zone?: string;
}

const [pod, outside, pod6, outside6] = [ip("10.4.1.7"), ip("10.9.9.9"), ip("fd00::7"), ip("fd00:99::1")];

const goldens: Golden[] = [
  {
    what: "TCP by way of a service, established",
    body: bytes(`02000000 34000180 1400 0180 08000100 0a040107 08000200 0a600001 1c000280 0500010006000000 060002009c400000
      0600030000500000 34000280 14000180 080001000a080009 080002000a040107 1c000280 0500010006000000 060002001f900000
      060003009c400000 08000300 0000000e 0800080000000000 08000c00 29972d04 08000b0000000001 080007000000012b
      30000480 2c000180 0500010003000000 0500020000000000 0500030000000000 060004000a000000 060005000a000000
      1c001880 0800010000000000 0800020000000000 0800030000000000`),
    tupleLen: 52,
    id: 0x29972d04,
    connection: connection(
      6,
      { source: pod, destination: ip("10.96.0.1"), sourcePort: 40_000, destinationPort: 80 },
      { reply: { source: ip("10.8.0.9"), sourcePort: 8080 }, replied: true, assured: true, tcpState: "established" },
    ),
  },
  {
    what: "ICMP, not answered",
    body: bytes(`02000000 3c000180 14000180 080001000a040107 080002000a090909 24000280 0500010001000000 06000400004d0000
      0500050008000000 0500060000000000 3c000280 14000180 080001000a090909 080002000a040107 24000280 0500010001000000
      06000400004d0000 0500050000000000 0500060000000000 0800030000000008 0800080000000000 08000c00 ccf5aa39
      08000b0000000001 080007000000012b 1c001880 0800010000000000 0800020000000000 0800030000000000`),
    tupleLen: 60,
    id: 0xccf5aa39,
    connection: connection(1, { source: pod, destination: outside, icmp: { id: 77, type: 8, code: 0 } }),
  },
  {
    what: "ESP, which has no ports",
    body: bytes(`02000000 24000180 14000180 080001000a040107 080002000a090909 0c000280 0500010032000000 24000280 14000180
      080001000a090909 080002000a040107 0c000280 0500010032000000 0800030000000008 0800080000000000 08000c006f0ca09e
      08000b0000000001 080007000000012b 1c001880 0800010000000000 0800020000000000 0800030000000000`),
    tupleLen: 36,
    id: 0x6f0ca09e,
    connection: connection(50, { source: pod, destination: outside }),
  },
  {
    what: "UDP over IPv6 in zone 5",
    body: bytes(`0a000000 4c000180 2c000180 14000300 fd000000000000000000000000000007 14000400 fd000099000000000000000000000001
      1c000280 0500010011000000 0600020014e90000 0600030000350000 4c000280 2c000180 14000300
      fd000099000000000000000000000001 14000400 fd000000000000000000000000000007 1c000280 0500010011000000
      0600020000350000 0600030014e90000 0600120000050000 0800030000000008 0800080000000000 08000c000c09385d
      08000b0000000001 080007000000012b 1c001880 0800010000000000 0800020000000000 0800030000000000`),
    tupleLen: 76,
    id: 0x0c09385d,
    connection: connection(17, { source: pod6, destination: outside6, sourcePort: 5353, destinationPort: 53 }),
    zone: "0600120000050000",
  },
];

for (const { what, body, tupleLen, id, connection, zone = "" } of goldens) {
  void test(`${what}: read, and deleted by its own tuple, id and zone`, () => {
    assert.deepEqual(decodeConnection(body), connection);
    assert.equal(connectionId(body), id);
    const tuple = body.subarray(4, 4 + tupleLen).toString("hex");
    const idHex = `08000c00${id.toString(16).padStart(8, "0")}`;
    assert.equal(
      sent(deleteConnectionRequest(body)),
      `02010500${body.subarray(0, 4).toString("hex")}${tuple}${idHex}${zone}`,
    );
    for (const { source, destination } of [connection.original, connection.reply]) {
      assert.ok(createMatcher([source])(body) && createMatcher([destination])(body));
    }
  });
}

void test("conntrack -D names the tuple in the same bytes; we add the id, it adds what the kernel does not read", () => {
  const theirs = bytes(`02000000 34000180 14000180 080001000a040107 080002000a600001 1c000280 0500010006000000
    060002009c400000 0600030000500000`);
  const ours = sent(deleteConnectionRequest(goldens[0]?.body ?? Buffer.alloc(0)));
  assert.equal(ours.slice(8, 8 + 2 * theirs.length), theirs.toString("hex"));
});

void test("conntrack -L asks for all, conntrack -L -f ipv4 and ipv6 for a family", () => {
  assert.equal(sent(dumpConnectionsRequest()), "0101010300000000");
  assert.equal(sent(dumpConnectionsRequest(4)), "0101010302000000");
  assert.equal(sent(dumpConnectionsRequest(6)), "010101030a000000");
});

void test("what is cut off, or lacks what names it, is refused", () => {
  const whole = goldens[0]?.body ?? Buffer.alloc(0);
  for (let length = 0; length < whole.length; length += 1) {
    const cut = whole.subarray(0, length);
    const boundaries = [52, 104, 112, 120, 128, 136, 144, 192].map((end) => end + 4);
    if (boundaries.includes(length)) continue;
    assert.throws(() => decodeConnection(cut), faultOf("kernel-refused"), `cut at ${length}`);
  }
  const [withoutReply, withoutId] = [whole.subarray(0, 56), whole.subarray(0, 124)];
  assert.throws(() => decodeConnection(withoutReply), faultOf("kernel-refused"));
  assert.throws(() => deleteConnectionRequest(withoutId), faultOf("kernel-refused"));
});
