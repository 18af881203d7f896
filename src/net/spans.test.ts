// Spans against sets of numbers: joining, cutting and the way back to networks lose and add no address.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type Cidr, cidrAt, cidrBase, cidrOf, cidrPrefix, cidrSize, parseCidr } from "./cidr.ts";
import { addressBits, ipFromNumber, ipToNumber } from "./ip.ts";
import { cutSpans, isWhole, joinSpans, type Span, spanOf, spansToCidrs } from "./spans.ts";

/** Numbers of addresses in which the random spans lie: the first ones of the family, or the last. */
const room = 64n;

const spans: fc.Arbitrary<Span[]> = fc.array(
  fc.tuple(fc.bigInt(0n, room - 1n), fc.bigInt(1n, room)).map(([from, length]) => {
    const end = from + length;
    return { from, end: end > room ? room : end };
  }),
  { maxLength: 6 },
);

function numbersOf(all: readonly Span[]): Set<bigint> {
  const numbers = new Set<bigint>();
  for (const { from, end } of all) for (let at = from; at < end; at += 1n) numbers.add(at);
  return numbers;
}

const sorted = (numbers: Iterable<bigint>): bigint[] => [...numbers].toSorted((a, b) => (a < b ? -1 : 1));

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert.ok(parsed !== undefined, `${text} is a network`);
  return parsed;
}

void test("joined spans hold the same addresses, stand in order and apart", () => {
  fc.assert(
    fc.property(spans, (all) => {
      const joined = joinSpans(all);
      assert.deepEqual(sorted(numbersOf(joined)), sorted(numbersOf(all)));
      joined.slice(1).forEach((span, index) => {
        assert.ok(span.from > (joined[index]?.end ?? 0n), "a gap before each but the first");
      });
    }),
    { numRuns: 2000 },
  );
});

void test("joining changes none of the spans that it is given", () => {
  const given = [
    { from: 0n, end: 2n },
    { from: 1n, end: 5n },
  ];
  joinSpans(given);
  assert.deepEqual(given, [
    { from: 0n, end: 2n },
    { from: 1n, end: 5n },
  ]);
});

void test("a span with holes holds what is in no hole", () => {
  fc.assert(
    fc.property(fc.bigInt(0n, room - 2n), fc.bigInt(1n, room), spans, (from, length, holes) => {
      const span = { from, end: from + length };
      const expected = numbersOf([span]);
      for (const number of numbersOf(holes)) expected.delete(number);
      const left = cutSpans(span, holes);
      assert.deepEqual(sorted(numbersOf(left)), sorted(expected));
      assert.ok(
        left.every((part) => part.from < part.end),
        "no part is empty",
      );
    }),
    { numRuns: 2000 },
  );
});

void test("networks hold exactly the addresses of the spans, in order, and no two of them could be one", () => {
  fc.assert(
    fc.property(fc.constantFrom<4 | 6>(4, 6), fc.boolean(), spans, (family, atEnd, given) => {
      const base = atEnd ? (1n << BigInt(addressBits(family))) - room : 0n;
      const moved = given.map(({ from, end }) => ({ from: from + base, end: end + base }));
      const networks = spansToCidrs(family, moved);
      assert.deepEqual(sorted(numbersOf(networks.map(spanOf))), sorted(numbersOf(moved)));
      const total = networks.reduce((sum, network) => sum + cidrSize(network), 0n);
      assert.equal(total, BigInt(numbersOf(moved).size), "none overlaps another");
      networks.slice(1).forEach((network, index) => {
        const before = networks[index] ?? network;
        assert.ok(spanOf(before).from < spanOf(network).from, "in order");
        const parent = cidrOf(cidrBase(before), cidrPrefix(before) - 1);
        const siblings =
          cidrPrefix(before) === cidrPrefix(network) && parent === cidrOf(cidrBase(network), cidrPrefix(before) - 1);
        assert.ok(!siblings, `${before} and ${network} are one network`);
      });
    }),
    { numRuns: 1000 },
  );
});

void test("a family with holes in it", () => {
  const open = (network: string, ...holes: string[]): string[] => {
    const block = cidr(network);
    return spansToCidrs(
      block.includes(":") ? 6 : 4,
      cutSpans(
        spanOf(block),
        holes.map((hole) => spanOf(cidr(hole))),
      ),
    );
  };
  assert.deepEqual(open("0.0.0.0/0"), ["0.0.0.0/0"]);
  assert.deepEqual(open("::/0"), ["::/0"]);
  assert.deepEqual(open("0.0.0.0/0", "0.0.0.0/1"), ["128.0.0.0/1"]);
  assert.deepEqual(open("::/0", "8000::/1"), ["::/1"]);
  assert.deepEqual(open("0.0.0.0/0", "0.0.0.0/0"), []);
  assert.deepEqual(open("10.0.0.0/8", "0.0.0.0/0"), []);
  assert.equal(open("0.0.0.0/0", "255.255.255.255/32").length, 32);
  assert.equal(open("::/0", "fd00::1/128").length, 128);
  assert.ok(open("::/0", "::fffe:0:0/96").includes("::ffff:0:0/96"), "which parseCidr refuses");
});

void test("whole is one span of every address", () => {
  const end = (family: 4 | 6): bigint => 1n << BigInt(addressBits(family));
  for (const family of [4, 6] as const) {
    assert.ok(isWhole(family, [{ from: 0n, end: end(family) }]));
    assert.ok(!isWhole(family, [{ from: 0n, end: end(family) - 1n }]));
    assert.ok(!isWhole(family, [{ from: 1n, end: end(family) }]));
    assert.ok(!isWhole(family, []));
  }
  assert.ok(!isWhole(6, [{ from: 0n, end: end(4) }]));
});

void test("a network begins at a number that is one of its size", () => {
  assert.equal(cidrAt(4, ipToNumber(cidrBase(cidr("10.0.0.0/24"))), 24), "10.0.0.0/24");
  assert.equal(cidrAt(6, 0n, 0), "::/0");
  assert.throws(() => cidrAt(4, 1n, 24), /begins at/);
  assert.equal(cidrAt(4, 1n, 32), `${ipFromNumber(4, 1n)}/32`);
});
