// The matcher against the whole decoder: whatever the entry, both find the same addresses in it.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { faultOf, ip } from "../../../test/kernel-stage.ts";
import { type Ip, ipFromBytes } from "../../net/ip.ts";
import { createWriter, defineAttributes, encodeAttributes, reserve, written } from "../netlink/codec.ts";
import { createMatcher } from "./matcher.ts";

const addresses = defineAttributes({
  source4: { id: 1, kind: "ip" },
  destination4: { id: 2, kind: "ip" },
  source6: { id: 3, kind: "ip" },
  destination6: { id: 4, kind: "ip" },
});
const protocol = defineAttributes({ number: { id: 1, kind: "u8" }, sourcePort: { id: 2, kind: "be16" } });
const tuple = defineAttributes({
  addresses: { id: 1, kind: "nested", of: addresses },
  protocol: { id: 2, kind: "nested", of: protocol },
  zone: { id: 3, kind: "be16" },
});
const entry = defineAttributes({
  original: { id: 1, kind: "nested", of: tuple },
  reply: { id: 2, kind: "nested", of: tuple },
  master: { id: 14, kind: "nested", of: tuple },
  helper: { id: 5, kind: "bytes" },
});

interface Ends {
  source: Ip;
  destination: Ip;
}

/** An entry; its master, the connection that it belongs to, is another entry. */
function entryBytes(original: Ends, reply: Ends, master?: Ends): Buffer {
  const tupleOf = ({ source, destination }: Ends) => ({
    addresses: source.includes(":")
      ? { source6: source, destination6: destination }
      : { source4: source, destination4: destination },
    protocol: { number: 6, sourcePort: 80 },
  });
  const writer = createWriter();
  reserve(writer, 4);
  encodeAttributes(writer, entry, {
    helper: Buffer.from("ftp"),
    original: tupleOf(original),
    reply: tupleOf(reply),
    ...(master === undefined ? {} : { master: tupleOf(master) }),
  });
  return Buffer.from(written(writer));
}

// Few different bytes, so that addresses are often equal or nearly so, and IPv6 ones end as IPv4 ones do.
const byte = fc.constantFrom(0, 1, 10);
const address = (length: number) => fc.array(byte, { minLength: length, maxLength: length });
const ip4 = address(4).map((bytes) => ipFromBytes(Uint8Array.from(bytes)));
const ip6 = address(5).map(([first = 0, ...tail]) =>
  ipFromBytes(Uint8Array.from([first, ...Array(11).fill(0), ...tail])),
);
const ends = fc.oneof(fc.record({ source: ip4, destination: ip4 }), fc.record({ source: ip6, destination: ip6 }));
const family = ({ source }: Ends): boolean => source.includes(":");

void test("an address has part where it is one of the four, and nowhere else", () => {
  fc.assert(
    fc.property(ends, ends, fc.array(fc.oneof(ip4, ip6), { maxLength: 20 }), (original, reply, asked) => {
      fc.pre(family(original) === family(reply));
      const four = new Set([original.source, original.destination, reply.source, reply.destination]);
      const expected = asked.some((address) => four.has(address));
      assert.equal(createMatcher(asked)(entryBytes(original, reply)), expected);
    }),
    { numRuns: 2000 },
  );
});

void test("the connection that an entry belongs to is another entry", () => {
  const [a, b, c] = [ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.3")];
  const body = entryBytes({ source: a, destination: b }, { source: b, destination: a }, { source: c, destination: b });
  assert.equal(createMatcher([c])(body), false);
  assert.equal(createMatcher([b])(body), true);
});

void test("one matcher keeps nothing from one entry to the next", () => {
  const [a, b, c] = [ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.3")];
  const matches = createMatcher([a]);
  const mine = entryBytes({ source: a, destination: b }, { source: b, destination: a });
  const theirs = entryBytes({ source: c, destination: b }, { source: b, destination: c });
  assert.deepEqual([mine, theirs, mine, theirs].map(matches), [true, false, true, false]);
});

void test("bytes that make no sense are refused, and never read for ever", () => {
  const whole = entryBytes(
    { source: ip("fd00::1"), destination: ip("fd00::2") },
    { source: ip("fd00::2"), destination: ip("fd00::1") },
  );
  const matches = createMatcher([ip("10.0.0.1")]);
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
      const damaged = Buffer.from(whole);
      damaged[at] = value;
      try {
        matches(damaged);
      } catch (error) {
        assert.ok(faultOf("kernel-refused")(error), String(error));
      }
    }),
    { numRuns: 2000 },
  );
  assert.throws(() => matches(Buffer.from([2, 0, 0, 0, 3, 0, 1, 0])), faultOf("kernel-refused"));
  const twoByteAddress = Buffer.from("0200000010000180 0c000180 0600010000000000".replaceAll(" ", ""), "hex");
  assert.throws(() => matches(twoByteAddress), faultOf("kernel-refused"));
  assert.equal(matches(Buffer.alloc(0)), false);
});
