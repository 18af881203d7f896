// Ethernet addresses: one spelling, and the two derivations from and to it.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { isFault } from "../base/fault.ts";
import { isLinkLocal } from "./ip.ts";
import { linkLocalOf, localMac, macBytes, macFromBytes, parseMac } from "./mac.ts";

const sixBytes = fc.uint8Array({ minLength: 6, maxLength: 6 });

void test("upper case is read, everything else but six colon pairs is refused", () => {
  assert.equal(parseMac("02:AB:cd:00:00:01"), "02:ab:cd:00:00:01");
  const refused = [
    "",
    "02:ab:cd:00:00",
    "02:ab:cd:00:00:01:02",
    "02-ab-cd-00-00-01",
    "2:ab:cd:0:0:1",
    "02:ab:cd:00:00:0g",
    "02:ab:cd:00:00:01\n",
    "02abcd000001",
    " 2:ab:cd:00:00:01",
  ];
  for (const text of refused) assert.equal(parseMac(text), undefined, JSON.stringify(text));
});

void test("text and bytes name the same address", () => {
  fc.assert(
    fc.property(sixBytes, (bytes) => {
      const mac = macFromBytes(bytes);
      assert.equal(parseMac(mac), mac);
      assert.deepEqual(macBytes(mac), Uint8Array.from(bytes));
    }),
  );
});

void test("a made address is unicast, locally administered, and keeps the other 46 bits of the seed", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 32 }), (seed) => {
      const before = Uint8Array.from(seed);
      const bytes = macBytes(localMac(seed));
      assert.equal((bytes[0] ?? 0) & 0x03, 0x02);
      assert.equal((bytes[0] ?? 0) | 0x03, (seed[0] ?? 0) | 0x03);
      assert.deepEqual(bytes.subarray(1), before.subarray(1, 6));
      assert.deepEqual(Uint8Array.from(seed), before, "the seed stays as it was");
    }),
  );
});

void test("the link-local address is the kernel's modified EUI-64", () => {
  const mac = parseMac("02:42:ac:11:00:02");
  assert.ok(mac !== undefined);
  assert.equal(linkLocalOf(mac), "fe80::42:acff:fe11:2");
  fc.assert(fc.property(sixBytes, (bytes) => isLinkLocal(linkLocalOf(macFromBytes(bytes)))));
});

void test("bytes of another length are a bug", () => {
  assert.throws(
    () => macFromBytes(new Uint8Array(7)),
    (error) => isFault(error, "bug"),
  );
  assert.throws(
    () => localMac(new Uint8Array(5)),
    (error) => isFault(error, "bug"),
  );
});
