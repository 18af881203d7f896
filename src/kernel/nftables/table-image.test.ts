// The guard's table against what nft itself sends for the same text, byte for byte; and tags that change with every change.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { parseIp } from "../../net/ip.ts";
import { createWriter, written } from "../netlink/codec.ts";
import { type Request, splitMessages, writeMessage } from "../netlink/message.ts";
import { nftMessage } from "./constants.ts";
import { type FieldName, constantElements, fields } from "./fields.ts";
import type { GuardEntry } from "../contract.ts";
import { guardKeys } from "./guard-keys.ts";
import { guardCounter, guardTable } from "./guard-table.ts";
import { familyHeaderLen } from "./messages.ts";
import capture from "./nft-capture.json" with { type: "json" };
import type { Rule, Table } from "./ruleset.ts";
import { elementMessages, elementsPerMessageMax } from "./set-messages.ts";
import { frameOf, tableImage } from "./table-image.ts";
import { tableText } from "./table-text.ts";

/** Each message of that type: its attributes' payloads in hexadecimal, by number. */
function attributesOf(requests: readonly Request[], type: number): Map<number, string>[] {
  const writer = createWriter();
  for (const request of requests.filter((request) => request.type === type)) writeMessage(writer, request, 1);
  return splitMessages(written(writer)).map(({ body }) => new Map(attributes(body.subarray(familyHeaderLen))));
}

function* attributes(bytes: Buffer): Generator<[id: number, hex: string]> {
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt16LE(at);
    yield [bytes.readUInt16LE(at + 2) & 0x3fff, bytes.toString("hex", at + 4, at + length)];
    at += (length + 3) & ~3;
  }
}

/** nft numbers the elements of a list 1, 2, …; the kernel does not look, and ours are all 1. */
function withoutNumbers(elements: string): string[] {
  return [...attributes(Buffer.from(elements, "hex"))].map(([, hex]) => hex);
}

const entries = [
  { link: "fl0123456789abc", address: "10.244.0.11" },
  { link: "fl1", address: "10.244.0.12" },
  { link: "fl0123456789abc", address: "fd00:10::11" },
  { link: "fl2", address: "any" },
].map(({ link, address }): GuardEntry => ({ link, address: parseIp(address) ?? "any" }));

void test("rules are the expressions that nft sends", () => {
  const rules = attributesOf(tableImage(guardTable).load, nftMessage.newRule);
  // The name of the counter is the one text that nft sends without its closing NUL; the kernel takes both.
  const counterName = (length: string): string => `${length}000200${Buffer.from(guardCounter).toString("hex")}`;
  const expected = capture.ruleExpressions.map((hex) => hex.replace(counterName("09"), counterName("0a")));
  assert.deepEqual(
    rules.map((rule) => rule.get(4)),
    expected,
  );
});

void test("sets have the flags, key types, lengths and numbers that nft gives them", () => {
  const sets = attributesOf(tableImage(guardTable).load, nftMessage.newSet);
  assert.deepEqual(
    sets.map((set) => ({
      flags: set.get(3),
      keyType: set.get(4),
      keyLen: set.get(5),
      id: set.get(10),
      description: set.get(9) ?? null,
    })),
    capture.sets,
  );
});

void test("elements are those that nft sends", () => {
  const keys = guardKeys(entries);
  const requests = [
    ...elementMessages("newElements", "fairlead", "ok4", [...keys.ok4.values()]),
    ...elementMessages("newElements", "fairlead", "ok6", [...keys.ok6.values()]),
    ...elementMessages("newElements", "fairlead", "any", [...keys.any.values()]),
    ...tableImage(guardTable).load,
  ];
  const sent = attributesOf(requests, nftMessage.newElements).map((list) => withoutNumbers(list.get(3) ?? ""));
  assert.deepEqual(sent, capture.elements.map(withoutNumbers));
});

void test("an interval that ends with the address space has no border behind it; names need none", () => {
  const borders = (field: FieldName, values: string[]) =>
    constantElements(fields[field], values).elements.map(
      ({ key, intervalEnd }) => `${intervalEnd ? "end " : ""}${Buffer.from(key).toString("hex")}`,
    );
  assert.deepEqual(borders("ip saddr", ["255.0.0.0/8", "10.0.0.1"]), [
    "end 00000000",
    "0a000001",
    "end 0a000002",
    "ff000000",
  ]);
  assert.deepEqual(borders("ip saddr", ["10.0.0.2", "10.0.0.1"]), ["0a000002", "0a000001"]);
  assert.deepEqual(borders("icmpv6 type", ["nd-neighbor-advert"]), ["88"]);
  assert.deepEqual(borders("ip saddr", ["10.1.0.0/16", "10.0.0.0/8", "10.3.0.0/16", "11.0.0.0/8", "13.0.0.0/8"]), [
    "end 00000000",
    "0a000000",
    "end 0c000000",
    "0d000000",
    "end 0e000000",
  ]);
  assert.deepEqual(borders("ip saddr", ["0.0.0.0/0", "10.0.0.0/8"]), ["00000000"]);
  // What a rule of everybody but the block beside it leaves.
  assert.deepEqual(borders("ip6 saddr", ["::ffff:0:0/96"]), [
    `end ${"0".repeat(32)}`,
    `${"0".repeat(20)}ffff00000000`,
    `end ${"0".repeat(19)}1000000000000`,
  ]);
  assert.deepEqual(borders("fib daddr type", ["local"]), ["02000000"]);
  assert.throws(() => borders("icmpv6 type", ["no-such-type"]), { code: "bug" });
});

void test("hook, priority and counter are those that nft sends", () => {
  const { load } = tableImage(guardTable);
  const [guard, guardPod] = attributesOf(load, nftMessage.newChain);
  assert.equal(guard?.get(4), capture.chainHook);
  assert.equal(guardPod?.get(4), undefined);
  assert.equal(attributesOf(load, nftMessage.newObject)[0]?.get(4), capture.counter);
});

void test("many elements go in several messages, none too long, none lost", () => {
  const keys = Array.from({ length: 2 * elementsPerMessageMax + 1 }, (_, index) => {
    const key = Buffer.alloc(32);
    key.writeUInt32BE(index);
    return key;
  });
  const messages = attributesOf(elementMessages("newElements", "fairlead", "ok6", keys), nftMessage.newElements);
  const counts = messages.map((message) => withoutNumbers(message.get(3) ?? "").length);
  assert.deepEqual(counts, [elementsPerMessageMax, elementsPerMessageMax, 1]);
  const distinct = new Set(messages.flatMap((message) => withoutNumbers(message.get(3) ?? "")));
  assert.equal(distinct.size, keys.length);
});

void test("equal tables have equal shapes, and every change of the table changes the shape", () => {
  const { shape } = tableImage(guardTable);
  assert.deepEqual(tableImage(structuredClone(guardTable)).shape, shape);
  const tags = shape.chains.flatMap(({ rules }) => rules);
  assert.equal(new Set(tags).size, tags.length, "each rule has a tag of its own");
  const [guard, guardPod] = guardTable.chains;
  assert.ok(guard?.hook !== undefined && guardPod !== undefined);
  const { hook } = guard;
  const withRules = (rules: readonly Rule[]): Table => ({ ...guardTable, chains: [guard, { ...guardPod, rules }] });
  const others: Record<string, Table> = {
    comment: { ...guardTable, comment: "another" },
    counter: { ...guardTable, counters: ["spoof", "more"] },
    "set key": { ...guardTable, sets: guardTable.sets.map((set) => ({ ...set, key: ["iifname", "ip saddr"] })) },
    priority: { ...guardTable, chains: [{ ...guard, hook: { on: "prerouting", priority: "filter" } }, guardPod] },
    "kind of chain": { ...guardTable, chains: [{ ...guard, hook: { ...hook, type: "nat" } }, guardPod] },
    "order of rules": withRules(guardPod.rules.toReversed()),
    "one rule fewer": withRules(guardPod.rules.slice(1)),
    "another verdict": withRules(guardPod.rules.with(0, [{ verdict: "accept" }])),
    "another constant": withRules(
      guardPod.rules.with(2, [{ match: "ip6 saddr", oneOf: ["fe80::/11"] }, { verdict: "return" }]),
    ),
  };
  const otherShapes = Object.values(others).map((table) => JSON.stringify(tableImage(table).shape));
  assert.equal(new Set([JSON.stringify(shape), ...otherShapes]).size, otherShapes.length + 1);
  for (const [name, other] of Object.entries(others)) {
    const isFrame = !isDeepStrictEqual(frameOf(tableImage(other).shape), frameOf(shape));
    assert.equal(isFrame, !/rule|verdict|constant/.test(name), `${name} is a change of the frame`);
  }
});

void test("the text for people", () => {
  assert.equal(
    tableText(guardTable),
    `table inet fairlead {
	comment "Fairlead source guard"

	counter spoof {
	}

	set ok4 {
		type ifname . ipv4_addr
	}

	set ok6 {
		type ifname . ipv6_addr
	}

	set any {
		type ifname
	}

	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname "fl*" jump guard_pod
	}

	chain guard_pod {
		iifname . ip saddr @ok4 return
		iifname . ip6 saddr @ok6 return
		ip6 saddr { fe80::/10, :: } ip6 daddr { fe80::/10, ff02::/16 } icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-report, mld2-listener-report } return
		iifname @any return
		meta nfproto { ipv4, ipv6 } counter name "spoof" drop
	}
}
`,
  );
});
