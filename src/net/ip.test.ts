// Addresses: tables of spellings, and node's own parsers as a second opinion on random text.

import assert from "node:assert/strict";
import { isIPv4, isIPv6 } from "node:net";
import { test } from "node:test";
import * as fc from "fast-check";
import { isFault } from "../base/fault.ts";
import {
  type Ip,
  ipBytes,
  ipFamily,
  ipFromBytes,
  ipFromNumber,
  ipToNumber,
  isGlobalUnicast,
  isLinkLocal,
  parseIp,
} from "./ip.ts";

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined, `"${text}" is an address`);
  return parsed;
}

const bytesOfIp = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  // Zeros in runs: the hard part of the IPv6 spelling.
  fc
    .array(fc.constantFrom(0, 0, 0, 1, 0xf, 0xff), { minLength: 16, maxLength: 16 })
    .map((bytes) => Uint8Array.from(bytes)),
);

/** Text that is nearly an address, or is one. */
const addressLike = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc
    .array(
      fc.constantFrom("0", "00", "1", "10", "255", "256", "ffff", "ABCD", "12345", "g", ":", ":", "::", ".", "."),
      {
        maxLength: 17,
      },
    )
    .map((parts) => parts.join("")),
  fc.string({ maxLength: 20 }),
);

void test("every spelling of an address becomes the canonical one", () => {
  const table: [string, string][] = [
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:DB8::0001", "2001:db8::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["::1.2.3.4", "::102:304"],
  ];
  for (const [text, canonical] of table) assert.equal(parseIp(text), canonical, text);
});

void test("what is not exactly one address is refused", () => {
  const table = [
    "",
    " 1.2.3.4",
    "1.2.3.4 ",
    "1.2.3.4\n",
    "1.2.3",
    "1.2.3.4.5",
    "1..3.4",
    ".1.2.3",
    "1.2.3.",
    "01.2.3.4",
    "1.2.3.00",
    "256.1.1.1",
    "1.2.3.-4",
    "0x1.2.3.4",
    "1.2.3.4/32",
    "１.2.3.4",
    ":",
    ":::",
    "::1::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    "::1:",
    ":1::",
    "12345::",
    "g::",
    "[::1]",
    "fe80::1%eth0",
    "1:2:3:4:5:6:7:1.2.3.4",
    "::1.2.3",
    "::1.2.3.4:5",
    "1.2.3.4::",
    "a.2.3.4",
    `::${"0".repeat(80)}1`,
    "1".repeat(1_000_000),
  ];
  for (const text of table) assert.equal(parseIp(text), undefined, JSON.stringify(text));
});

void test("an IPv4-mapped address is refused in every spelling, and still has a name when the kernel holds one", () => {
  for (const text of ["::ffff:1.2.3.4", "::ffff:102:304", "0:0:0:0:0:FFFF:1.2.3.4", "::ffff:0:0"]) {
    assert.equal(parseIp(text), undefined, text);
  }
  const mapped = ipFromBytes(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4));
  assert.equal(mapped, "::ffff:102:304");
  assert.deepEqual([...ipBytes(mapped)].slice(-6), [0xff, 0xff, 1, 2, 3, 4]);
});

void test("agrees with node's parsers and with the URL standard's spelling on random text", () => {
  fc.assert(
    fc.property(addressLike, (text) => {
      const parsed = parseIp(text);
      if (isIPv4(text)) return parsed === text;
      if (!isIPv6(text) || text.includes("%")) return parsed === undefined;
      const canonical = new URL(`http://[${text}]/`).hostname.slice(1, -1);
      return parsed === (/^::ffff:[0-9a-f]+:[0-9a-f]+$/.test(canonical) ? undefined : canonical);
    }),
    { numRuns: 5000 },
  );
});

void test("bytes, number and text name the same address", () => {
  fc.assert(
    fc.property(bytesOfIp, (bytes) => {
      const address = ipFromBytes(bytes);
      const family = bytes.length === 4 ? 4 : 6;
      assert.equal(ipFamily(address), family);
      assert.deepEqual(ipBytes(address), Uint8Array.from(bytes));
      const number = ipToNumber(address);
      assert.equal(number, BigInt(`0x${Buffer.from(bytes).toString("hex")}`));
      assert.equal(ipFromNumber(family, number), address);
      if (!address.startsWith("::ffff:")) assert.equal(parseIp(address), address);
    }),
    { numRuns: 2000 },
  );
});

void test("a number outside the family, or bytes of another length, is a bug", () => {
  const isBug = (error: unknown): boolean => isFault(error, "bug");
  assert.throws(() => ipFromNumber(4, 1n << 32n), isBug);
  assert.throws(() => ipFromNumber(6, 1n << 128n), isBug);
  assert.throws(() => ipFromNumber(4, -1n), isBug);
  assert.throws(() => ipFromBytes(new Uint8Array(5)), isBug);
});

void test("link-local is 169.254/16 and fe80::/10", () => {
  for (const text of ["169.254.0.0", "169.254.255.255", "fe80::", "febf:ffff::1"])
    assert.ok(isLinkLocal(ip(text)), text);
  for (const text of ["169.253.255.255", "169.255.0.0", "fe7f::1", "fec0::1", "a9fe::1"]) {
    assert.ok(!isLinkLocal(ip(text)), text);
  }
});

void test("global unicast is what a host can have beyond its link", () => {
  for (const text of [
    "10.0.0.1",
    "192.168.1.1",
    "8.8.8.8",
    "223.255.255.255",
    "fd00::1",
    "2001:db8::1",
    "64:ff9b::1",
  ]) {
    assert.ok(isGlobalUnicast(ip(text)), text);
  }
  const none = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"];
  for (const text of [...none, "::", "::1", "fe80::1", "ff02::1", "::1.2.3.4"]) {
    assert.ok(!isGlobalUnicast(ip(text)), text);
  }
});
