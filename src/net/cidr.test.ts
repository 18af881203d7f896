// Networks: strict reading, and arithmetic checked against a second, plain-number model of a network.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { isFault } from "../base/fault.ts";
import {
  type Cidr,
  addressAt,
  cidrBase,
  cidrContains,
  cidrFamily,
  cidrOf,
  cidrPrefix,
  cidrSize,
  cidrsOverlap,
  containedIn,
  hostCidr,
  offsetOf,
  ownCidr,
  parseCidr,
  parseInterfaceAddress,
} from "./cidr.ts";
import { type Ip, ipFromBytes, ipFromNumber, parseIp } from "./ip.ts";

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined, `"${text}" is an address`);
  return parsed;
}

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert.ok(parsed !== undefined, `"${text}" is a network`);
  return parsed;
}

/** A network as first number, number after the last, family: the model that the text arithmetic is compared with. */
interface Range {
  family: 4 | 6;
  first: bigint;
  end: bigint;
  cidr: Cidr;
}

const range: fc.Arbitrary<Range> = fc
  .constantFrom<4 | 6>(4, 6)
  .chain((family) => {
    const bits = family === 4 ? 32 : 128;
    // Few high bits, so that two random networks often meet; IPv6 above the mapped block.
    const number = fc.tuple(fc.bigInt(0n, 3n), fc.bigInt(0n, (1n << BigInt(bits - 2)) - 1n));
    return fc.tuple(fc.constant(family), number, fc.integer({ min: 0, max: bits }));
  })
  .map(([family, [high, low], prefix]) => {
    const bits = family === 4 ? 32 : 128;
    const hostBits = BigInt(bits - prefix);
    const number = (high << BigInt(bits - 2)) | low;
    const first = (number >> hostBits) << hostBits;
    return { family, first, end: first + (1n << hostBits), cidr: cidrOf(ipFromNumber(family, number), prefix) };
  });

void test("a network is read only in its exact form", () => {
  assert.equal(parseCidr("10.0.0.0/24"), "10.0.0.0/24");
  assert.equal(parseCidr("0.0.0.0/0"), "0.0.0.0/0");
  assert.equal(parseCidr("FD00:0::/64"), "fd00::/64");
  assert.equal(parseCidr("::/0"), "::/0");
  assert.equal(parseCidr("10.0.0.1/32"), "10.0.0.1/32");
  const refused = [
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/024",
    "10.0.0.0/+24",
    "10.0.0.0/24 ",
    "10.0.0.0/24\n",
    "10.0.0.0/2 4",
    "10.0.0.0/24/24",
    "10.0.0.0/-1",
    "10.0.0.0/1e1",
    "10.0.0.1/24",
    "fd00::1/64",
    "fd00::/129",
    "::ffff:0:0/96",
    "/24",
    "",
    `10.0.0.0/${"0".repeat(100)}24`,
  ];
  for (const text of refused) assert.equal(parseCidr(text), undefined, JSON.stringify(text));
});

void test("a network of our own can be IPv4-mapped, or what anybody may write", () => {
  for (const text of ["::ffff:0:0/96", "::ffff:a00:0/104", "::ffff:a00:1/128", "::/0", "10.0.0.0/8"]) {
    assert.equal(ownCidr(text), text);
  }
  for (const text of [
    "::ffff:a00:1/104",
    "::ffff:10.0.0.0/104",
    "::ffff:0:0/129",
    "::ffff:0:0/95",
    "::ffff:0:0",
    "10.0.0.1/8",
  ]) {
    assert.equal(ownCidr(text), undefined, text);
  }
});

void test("an interface address keeps its host bits", () => {
  assert.deepEqual(parseInterfaceAddress("10.0.0.5/24"), { address: "10.0.0.5", prefix: 24 });
  assert.deepEqual(parseInterfaceAddress("FD00::5/64"), { address: "fd00::5", prefix: 64 });
  for (const text of ["10.0.0.5", "10.0.0.5/33", "10.0.0.256/24", "/24", ""]) {
    assert.equal(parseInterfaceAddress(text), undefined, text);
  }
});

void test("masking, size, base, prefix and family agree with the number model", () => {
  fc.assert(
    fc.property(range, ({ family, first, end, cidr }) => {
      assert.equal(cidrBase(cidr), ipFromNumber(family, first));
      assert.equal(cidrSize(cidr), end - first);
      assert.equal(cidrFamily(cidr), family);
      assert.equal(cidrOf(cidrBase(cidr), cidrPrefix(cidr)), cidr);
      if (!cidr.startsWith("::ffff:")) assert.equal(parseCidr(cidr), cidr);
    }),
    { numRuns: 2000 },
  );
});

void test("two networks overlap exactly where their numbers do", () => {
  fc.assert(
    fc.property(range, range, (a, b) => {
      const meet = a.family === b.family && a.first < b.end && b.first < a.end;
      assert.equal(cidrsOverlap(a.cidr, b.cidr), meet);
      assert.equal(
        cidrContains(a.cidr, cidrBase(b.cidr)),
        a.family === b.family && b.first >= a.first && b.first < a.end,
      );
      for (const base of [a, b].map(({ cidr }) => cidrBase(cidr))) {
        const isIn = (networks: Cidr[]): boolean => networks.some((network) => cidrContains(network, base));
        for (const networks of [[], [a.cidr], [b.cidr, a.cidr]])
          assert.equal(containedIn(networks)(base), isIn(networks));
      }
    }),
    { numRuns: 3000 },
  );
});

void test("an address that differs in one bit is inside exactly where that bit is a host bit", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  fc.assert(
    fc.property(bytes, fc.nat(127), fc.nat(128), (bytes, bitSeed, prefixSeed) => {
      const bits = bytes.length * 8;
      const bit = bitSeed % bits;
      const prefix = prefixSeed % (bits + 1);
      const other = Uint8Array.from(bytes);
      other[bit >>> 3] = (other[bit >>> 3] ?? 0) ^ (0x80 >>> (bit & 7));
      const network = cidrOf(ipFromBytes(bytes), prefix);
      assert.equal(cidrContains(network, ipFromBytes(other)), bit >= prefix);
      assert.equal(cidrsOverlap(network, hostCidr(ipFromBytes(other))), bit >= prefix);
    }),
    { numRuns: 2000 },
  );
});

void test("an address and its offset lead to each other, edges included", () => {
  fc.assert(
    fc.property(range, fc.bigInt(0n, (1n << 128n) - 1n), ({ family, first, end, cidr }, random) => {
      for (const offset of [0n, random % (end - first), end - first - 1n]) {
        const address = addressAt(cidr, offset);
        assert.equal(address, ipFromNumber(family, first + offset));
        assert.equal(offsetOf(cidr, address), offset);
      }
    }),
  );
});

void test("families never mix", () => {
  assert.ok(!cidrContains(cidr("0.0.0.0/0"), ip("::1")));
  assert.ok(!cidrContains(cidr("::/0"), ip("10.0.0.1")));
  assert.ok(!cidrsOverlap(cidr("0.0.0.0/0"), cidr("::/0")));
});

void test("a host network holds its one address", () => {
  assert.equal(hostCidr(ip("10.0.0.1")), "10.0.0.1/32");
  assert.equal(hostCidr(ip("fd00::1")), "fd00::1/128");
  assert.equal(cidrSize(hostCidr(ip("fd00::1"))), 1n);
});

void test("asking beyond a network is a bug", () => {
  const isBug = (error: unknown): boolean => isFault(error, "bug");
  assert.throws(() => addressAt(cidr("10.0.0.0/24"), 256n), isBug);
  assert.throws(() => addressAt(cidr("10.0.0.0/24"), -1n), isBug);
  assert.throws(() => offsetOf(cidr("10.0.0.0/24"), ip("10.0.1.0")), isBug);
  assert.throws(() => cidrOf(ip("10.0.0.0"), 33), isBug);
  assert.throws(() => cidrOf(ip("10.0.0.0"), 1.5), isBug);
});
