// Our bytes against those that iproute2 6.1 sends for the same change, captured with strace in a namespace of its own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../base/assert.ts";
import type { Netns, Op } from "../contract.ts";
import { parseCidr } from "../../net/cidr.ts";
import { parseIp } from "../../net/ip.ts";
import { parseMac } from "../../net/mac.ts";
import { createWriter, written } from "./codec.ts";
import { writeMessage } from "./message.ts";
import { opRequests } from "./ops.ts";

const ip = (text: string) => present(parseIp(text), text);
const cidr = (text: string) => present(parseCidr(text), text);
const mac = (text: string) => present(parseMac(text), text);

/** Never asked for anything: the descriptor number is given beside it. */
const peerNetns = {} as Netns; // oxlint-disable-line typescript/no-unsafe-type-assertion -- only its identity is used
const peerNetnsFd = 4;

interface Golden {
  /** What was run; fl0 had index 2. */
  command: string;
  op: Op;
  /** Which message of the operation. */
  message?: number;
  /** The message without length, sequence and port: type and flags, then the body. */
  sent: string;
}

const goldens: Golden[] = [
  {
    command:
      "ip link add name fl0 address 02:00:00:00:00:01 mtu 1450 group 100 numtxqueues 1 numrxqueues 1 type veth peer" +
      " name eth0 address 02:00:00:00:00:02 mtu 1400 numtxqueues 1 numrxqueues 1 netns PEER",
    op: {
      op: "link.addVeth",
      name: "fl0",
      mac: mac("02:00:00:00:00:01"),
      mtu: 1450,
      group: 100,
      peer: { netns: peerNetns, name: "eth0", mac: mac("02:00:00:00:00:02"), mtu: 1400 },
    },
    sent: `10000506 00000000000000000000000000000000 0a000100020000000001 0000 08000400aa050000 08001b0064000000
      08001f0001000000 0800200001000000 08000300666c3000 5c001200 0800010076657468 50000200 4c000100
      00000000000000000000000000000000 0a000100020000000002 0000 0800040078050000 08001f0001000000 0800200001000000
      08001c0004000000 090003006574683000000000`,
  },
  {
    command: "ip link set dev fl0 addrgenmode none",
    op: { op: "link.set", link: 2, linkLocal: "none", up: true },
    sent: "10000500 00000000020000000000000000000000 10001a00 0c000a00 0500080001000000",
  },
  {
    command: "ip link set dev fl0 up",
    op: { op: "link.set", link: 2, linkLocal: "none", up: true },
    message: 1,
    sent: "10000500 00000000020000000100000001000000",
  },
  {
    command: "ip link set dev fl0 alias 'a pod'",
    op: { op: "link.set", link: 2, alias: "a pod" },
    sent: "10000500 00000000020000000000000000000000 090014006120706f64000000",
  },
  {
    command: "ip link set dev fl0 address 02:00:00:00:00:77",
    op: { op: "link.set", link: 2, mac: mac("02:00:00:00:00:77") },
    sent: "10000500 00000000020000000000000000000000 0a000100020000000077 0000",
  },
  {
    command: "ip link set dev fl0 group 101",
    op: { op: "link.set", link: 2, group: 101 },
    sent: "10000500 00000000020000000000000000000000 08001b0065000000",
  },
  {
    command: "ip link set dev fl0 name fl9",
    op: { op: "link.set", link: 2, rename: "fl9" },
    sent: "10000500 00000000020000000000000000000000 08000300666c3900",
  },
  {
    command: "ip link del dev fl9",
    op: { op: "link.remove", link: 2 },
    sent: "11000500 00000000020000000000000000000000",
  },
  {
    command: "ip addr add 10.0.0.5/32 dev fl0 noprefixroute",
    op: { op: "address.add", link: 2, address: ip("10.0.0.5"), prefix: 32 },
    sent: "14000506 0220000002000000 080002000a000005 0800080000020000 080001000a000005",
  },
  {
    command: "ip addr add fd00::5/128 dev fl0 nodad noprefixroute",
    op: { op: "address.add", link: 2, address: ip("fd00::5"), prefix: 128 },
    sent: `14000506 0a80000002000000 14000200fd000000000000000000000000000005 0800080002020000
      14000100fd000000000000000000000000000005`,
  },
  {
    command: "ip addr del 10.0.0.5/32 dev fl0",
    op: { op: "address.remove", link: 2, address: ip("10.0.0.5"), prefix: 32 },
    sent: "15000500 0220000002000000 080002000a000005 080001000a000005",
  },
  {
    command: "ip route add 169.254.1.1/32 dev fl0 scope link proto 142",
    op: { op: "route.add", route: { to: cidr("169.254.1.1/32"), link: 2, scope: "link" } },
    sent: "18000506 02200000fe8efd0100000000 08000100a9fe0101 0800040002000000",
  },
  {
    command: "ip route add 10.1.0.0/16 via 169.254.1.1 dev fl0 src 10.0.0.5 metric 50 mtu 1300 proto 142",
    op: {
      op: "route.add",
      route: { to: cidr("10.1.0.0/16"), via: ip("169.254.1.1"), link: 2, src: ip("10.0.0.5"), metric: 50, mtu: 1300 },
    },
    sent: `18000506 02100000fe8e000100000000 080001000a010000 08000500a9fe0101 080007000a000005 0800060032000000
      0800040002000000 0c000800 0800020014050000`,
  },
  {
    command: "ip -6 route replace fd01::/64 dev fl0 metric 50 table 1000 proto 142",
    op: { op: "route.replace", route: { to: cidr("fd01::/64"), link: 2, metric: 50, table: 1000 } },
    sent: `18000505 0a400000008e000100000000 14000100fd010000000000000000000000000000 0800060032000000 08000f00e8030000
      0800040002000000`,
  },
  {
    command: "ip route add unreachable 10.2.0.0/16 metric 4000000 proto 142",
    op: { op: "route.add", route: { to: cidr("10.2.0.0/16"), type: "unreachable", metric: 4_000_000 } },
    sent: "18000506 02100000fe8e000700000000 080001000a020000 0800060000093d00",
  },
  {
    command: "ip route del 10.1.0.0/16 dev fl0 metric 50 proto 142",
    op: { op: "route.remove", route: { to: cidr("10.1.0.0/16"), link: 2, metric: 50 } },
    sent: "19000500 02100000fe8eff0000000000 080001000a010000 0800060032000000 0800040002000000",
  },
  {
    command: "ip rule add from 10.0.0.0/8 to 10.1.0.0/16 fwmark 0x10/0xf0 lookup 100 priority 1001 protocol 142",
    op: {
      op: "rule.add",
      rule: {
        family: 4,
        from: cidr("10.0.0.0/8"),
        to: cidr("10.1.0.0/16"),
        mark: 0x10,
        mask: 0xf0,
        table: 100,
        priority: 1001,
      },
    },
    sent: `20000506 021008006400000100000000 080002000a000000 080001000a010000 08000a0010000000 08001000f0000000
      08000600e9030000 050015008e000000`,
  },
  {
    command: "ip -6 rule add from fd00::5/128 lookup 1000 priority 1000 protocol 142",
    op: { op: "rule.add", rule: { family: 6, from: cidr("fd00::5/128"), table: 1000, priority: 1000 } },
    sent: `20000506 0a0080000000000100000000 14000200fd000000000000000000000000000005 08000f00e8030000
      08000600e8030000 050015008e000000`,
  },
  {
    command: "ip neigh replace 10.0.0.5 lladdr 02:00:00:00:00:02 dev fl0 nud permanent",
    op: { op: "neighbour.set", link: 2, address: ip("10.0.0.5"), mac: mac("02:00:00:00:00:02") },
    sent: "1c000505 020000000200000080000000 080001000a000005 0a0002000200000000020000",
  },
];

const newLink = 16;
const setLink = 19;

/**
 * Our message in iproute2's manner, which is older: it does not mark nests as such, and changes a link by NEWLINK
 * without "create", which is the same as SETLINK.
 */
function inOldManner(op: Op, at: number): Buffer {
  const request = present(opRequests(op, () => peerNetnsFd)[at], `message ${at} of ${op.op}`);
  const writer = createWriter();
  writeMessage(writer, { ...request, type: request.type === setLink ? newLink : request.type }, 1);
  const message = Buffer.from(written(writer));
  unmarkNests(message, op.op.startsWith("link.") ? 32 : op.op.startsWith("address.") ? 24 : 28, message.length);
  return message;
}

function unmarkNests(bytes: Buffer, from: number, to: number, path = ""): void {
  for (let at = from; at < to; at += (bytes.readUInt16LE(at) + 3) & ~3) {
    const type = bytes.readUInt16LE(at + 2);
    if (type < 0x8000) continue;
    bytes.writeUInt16LE(type & 0x7fff, at + 2);
    const inside = `${path}.${type & 0x7fff}`;
    const header = inside === ".18.2.1" ? 16 : 0; // the veth's peer begins with a struct
    unmarkNests(bytes, at + 4 + header, at + bytes.readUInt16LE(at), inside);
  }
}

for (const { command, op, message = 0, sent } of goldens) {
  void test(command, () => {
    const ours = inOldManner(op, message);
    assert.equal(ours.readUInt32LE(0), ours.length);
    const comparable = ours.subarray(4, 8).toString("hex") + ours.subarray(16).toString("hex");
    assert.equal(comparable, sent.replaceAll(/\s/g, ""));
  });
}

void test("removing a neighbour differs from iproute2 by the state only, which the kernel does not read then", () => {
  const sent = "1d000500 020000000200000080000000 080001000a000005".replaceAll(" ", "");
  const ours = inOldManner({ op: "neighbour.remove", link: 2, address: ip("10.0.0.5") }, 0);
  ours.writeUInt16LE(0x80, 24);
  assert.equal(ours.subarray(4, 8).toString("hex") + ours.subarray(16).toString("hex"), sent);
});
