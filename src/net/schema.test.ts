// Addresses and networks as fields: canonical when read, and refused in words that say what to write.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cidr, ip, mac } from "./schema.ts";

const wordsOf = (schema: typeof ip | typeof cidr | typeof mac, text: unknown): string =>
  (schema.safeParse(text).error?.issues ?? []).map(({ message }) => message).join("; ");

test("what is read is in its one spelling", () => {
  assert.equal(ip.parse("FD00::0:1"), "fd00::1");
  assert.equal(cidr.parse("FD00:0::/64"), "fd00::/64");
  assert.equal(mac.parse("02:AB:00:00:00:01"), "02:ab:00:00:00:01");
});

test("what is none is named with the like of what to write", () => {
  assert.equal(wordsOf(ip, "10.4.1"), '"10.4.1" is not an IP address such as 10.4.1.2 or fd00:4:1::2');
  assert.equal(wordsOf(cidr, "10.4.1"), '"10.4.1" is not a network; write one such as 10.4.1.0/24 or fd00:4:1::/64');
  assert.equal(
    wordsOf(cidr, "10.4.1.7/24"),
    '"10.4.1.7/24" has bits set after its prefix; the network around it is 10.4.1.0/24',
  );
  assert.equal(wordsOf(mac, "02:\n"), '"02:\\n" is not an Ethernet address such as 02:00:00:00:00:01');
});

test("the cure of a network is none that is wider than what is written", () => {
  const table: [string, string][] = [
    ["10.1.2.3", "write 10.1.2.3/32"],
    ["FD00::0:1", "write fd00::1/128"],
    ["10.0.0.0/33", "the prefix of IPv4 is 0 to 32"],
    ["10.0.0.0/", "the prefix of IPv4 is 0 to 32"],
    ["fd00::/129", "the prefix of IPv6 is 0 to 128"],
    ["10.0.0.0/8/8", "the prefix of IPv4 is 0 to 32"],
    ["10/8", "write one such as 10.4.1.0/24 or fd00:4:1::/64"],
    ["", "write one such as 10.4.1.0/24 or fd00:4:1::/64"],
  ];
  for (const [text, cure] of table) assert.equal(wordsOf(cidr, text), `"${text}" is not a network; ${cure}`);
});

test("a text that is too long, or none, is not shown", () => {
  for (const schema of [ip, cidr, mac]) {
    assert.match(wordsOf(schema, "1".repeat(65)), /^Too big: expected string to have <=64 characters$/);
    assert.match(wordsOf(schema, 7), /^Invalid input: expected string, received number$/);
  }
});
