// Events as Linux 6.18 sends them, captured from its multicast groups while ip(8) and nft(8) changed a namespace; fl0 had index 2, br0 3.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cidr, ip } from "../../../test/kernel-stage.ts";
import { message } from "../../../test/netlink-bytes.ts";
import type { KernelChange } from "../contract.ts";
import { readChanges } from "./changes.ts";

interface Golden {
  command: string;
  type: number;
  body: string;
  changes: KernelChange[];
}

const link = 2;

const goldens: Golden[] = [
  {
    command: "ip link add fl0 type veth peer name eth0 netns POD (its first attributes)",
    type: 16,
    body: "00000100 02000000 02100000 ffffffff 08000300666c3000 08000d00e8030000",
    changes: [{ what: "link", index: 2, removed: false }],
  },
  {
    command: "ip link del fl0 (its first attributes)",
    type: 17,
    body: "00000100 02000000 02100000 ffffffff 08000300666c3000 08000d00e8030000",
    changes: [{ what: "link", index: 2, removed: true }],
  },
  {
    command: "ip link set fl0 nomaster, which was a port of br0: the bridge lets go of it, the link stays",
    type: 17,
    body: `07000100 02000000 03100000 00000000 08000300666c3000 08000a0003000000 08000400dc050000 0500100002000000
      0a00010002000000 00010000`,
    changes: [{ what: "link", index: 2, removed: false }],
  },
  {
    command: "ip addr add 10.0.0.1/24 peer 10.0.0.2 dev fl0",
    type: 20,
    body: `02208000 02000000 080001000a000002 080002000a000001 08000300666c3000 0800080080000000
      14000600ffffffffffffffff970c0600970c0600`,
    changes: [{ what: "address", link, address: ip("10.0.0.1"), removed: false }],
  },
  {
    command: "ip addr add fd00::1/64 dev fl0 nodad noprefixroute, when fl0 goes",
    type: 21,
    body: `0a408200 02000000 14000100fd000000000000000000000000000001 14000600ffffffffffffffffa80c0600a80c0600
      0800080082020000`,
    changes: [{ what: "address", link, address: ip("fd00::1"), removed: true }],
  },
  {
    command: "ip route add 10.5.0.0/16 dev fl0 proto 142",
    type: 24,
    body: "02100000fe8efd01 10000000 08000f00fe000000 080001000a050000 0800040002000000",
    changes: [{ what: "route", to: cidr("10.5.0.0/16"), link, protocol: 142, removed: false }],
  },
  {
    command: "ip -6 route add fd05::/64 dev fl0 proto 142 table 1000, when fl0 goes",
    type: 25,
    body: `0a400000fc8e0001 10000000 08000f00e8030000 14000100fd050000000000000000000000000000 0800060000040000
      0800040002000000 24000c00${"0".repeat(64)} 0500140000000000`,
    changes: [{ what: "route", to: cidr("fd05::/64"), link, table: 1000, protocol: 142, removed: true }],
  },
  {
    command: "ip rule add from 10.0.0.0/8 lookup 100 priority 50",
    type: 32,
    body: `0200080064000001 00000000 08000f0064000000 08000e00ffffffff 0500150000000000 0800060032000000
      080002000a000000`,
    changes: [{ what: "rule", family: 4, priority: 50, removed: false }],
  },
  {
    command: "ip -6 rule add lookup 100 priority 51",
    type: 32,
    body: "0a00000064000001 00000000 08000f0064000000 08000e00ffffffff 0500150000000000 0800060033000000",
    changes: [{ what: "rule", family: 6, priority: 51, removed: false }],
  },
  {
    command: "ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev fl0 nud permanent",
    type: 28,
    body: `02000000 02000000 80000001 080001000a000009 0a00020002000000 00090000 0800040000000000
      14000300000000000000000000000000 01000000`,
    changes: [{ what: "neighbour", link, address: ip("10.0.0.9"), removed: false }],
  },
  {
    command: "ip neigh del 10.0.0.9 dev fl0",
    type: 29,
    body: "02000000 02000000 20000001 080001000a000009 0800040000000000 140003001f0000001f0000001f00000000000000",
    changes: [{ what: "neighbour", link, address: ip("10.0.0.9"), removed: true }],
  },
  {
    command: "a multicast entry that needs no look-up, when fl0 goes",
    type: 29,
    body: `0a000000 02000000 40000005 14000100ff020000000000000000000000000016 0a00020033330000 00160000
      0800040000000000 140003002c180000bc000000bc00000000000000`,
    changes: [],
  },
  {
    command: "ip link set fl0 master br0: the bridge learns its hardware address",
    type: 28,
    body: `07000000 02000000 80000000 0a00020002000000 00010000 0800090003000000 08000f0000000000
      1400030000000000000000000000000000000000`,
    changes: [],
  },
  {
    command: "nft add table inet x: the table",
    type: 0xa00,
    body: "01000002 060001007800000008000300000000000c00040000000000000000010800020000000000",
    changes: [],
  },
  {
    command: "nft add table inet x: the generation",
    type: 0xa0f,
    body: "00000002 0800010000000002 0800020000003156 080003006e667400",
    changes: [{ what: "nftables", by: "nft", tables: [] }],
  },
];

const datagramOf = ({ type, body }: Golden): Buffer =>
  message(type, 0, 0, Buffer.from(body.replaceAll(/\s/g, ""), "hex"));

for (const golden of goldens) {
  void test(golden.command, () => assert.deepEqual(readChanges(datagramOf(golden)), golden.changes));
}

void test("a datagram of many messages gives their changes in order, and what cannot be read is lost in its place", () => {
  const whole = Buffer.concat(goldens.map(datagramOf));
  assert.deepEqual(
    readChanges(whole),
    goldens.flatMap(({ changes }) => changes),
  );
  const [first, last] = [goldens[0], goldens.at(-1)].map((golden) => datagramOf(golden ?? assert.fail()));
  const short = message(20, 0, 0, Buffer.alloc(4));
  assert.deepEqual(readChanges(Buffer.concat([first ?? short, short, last ?? short])), [
    { what: "link", index: 2, removed: false },
    { what: "lost" },
    { what: "nftables", by: "nft", tables: [] },
  ]);
});

void test("whatever the bytes, reading them throws nothing", () => {
  const whole = Buffer.concat(goldens.map(datagramOf));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      readChanges(Buffer.from(bytes));
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 5 }), (damage) => {
      const damaged = Buffer.from(whole);
      for (const [at, value] of damage) damaged[at] = value;
      assert.ok(readChanges(damaged).length <= goldens.length + 1);
    }),
    { numRuns: 3000 },
  );
  const prefixTooLong = datagramOf(goldens[5] ?? assert.fail());
  prefixTooLong[17] = 200;
  assert.deepEqual(readChanges(prefixTooLong), [{ what: "lost" }]);
  assert.deepEqual(readChanges(whole.subarray(0, whole.length - 1)), [{ what: "lost" }]);
});

void test("a generation names the tables of ours that were touched since the one before, in whichever datagram", () => {
  const named = (type: number, name: string): Buffer => {
    const text = Buffer.from(`${name}\0`.padEnd(Math.ceil((name.length + 1) / 4) * 4, "\0"), "latin1");
    const header = Buffer.from([1, 0, 0, 2, 0, 0, 1, 0]);
    header.writeUInt16LE(4 + name.length + 1, 4);
    return message(type, 0, 0, Buffer.concat([header, text]));
  };
  const generation = datagramOf(goldens.at(-1) ?? assert.fail());
  const touched = new Set<string>();
  const tablesOf = (datagram: Buffer): unknown =>
    readChanges(datagram, touched).map((change) => (change.what === "nftables" ? change.tables : change));
  assert.deepEqual(tablesOf(Buffer.concat([named(0xa08, "fairlead-policy"), named(0xa06, "filter")])), []);
  assert.deepEqual(tablesOf(Buffer.concat([named(0xa0e, "fairlead"), generation])), [["fairlead", "fairlead-policy"]]);
  assert.deepEqual(tablesOf(generation), [[]]);
  assert.deepEqual(tablesOf(message(0xa08, 0, 0, Buffer.from([1, 0, 0, 2]))), [{ what: "lost" }]);
});
