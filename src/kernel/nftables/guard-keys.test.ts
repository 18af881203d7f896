// Guard entries as set keys and back: what a key holds, and which entries are refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { ipFromBytes, parseIp } from "../../net/ip.ts";
import type { GuardEntry } from "../contract.ts";
import { guardEntriesMax, guardEntry, guardKeys, indexKeys, selectKeys } from "./guard-keys.ts";

const entry = (link: string, text: string): GuardEntry => ({ link, address: parseIp(text) ?? assert.fail(text) });

const anyEntry = fc.record({
  link: fc.stringMatching(/^fl[a-z0-9.-]{0,13}$/),
  address: fc
    .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
    .map(ipFromBytes),
});

void test("a key is the name in 16 bytes and then the address", () => {
  const { ok4, ok6 } = guardKeys([entry("fl0123456789abc", "10.0.0.1"), entry("fl1", "fd00::1")]);
  const hex = (keys: ReadonlyMap<string, Uint8Array>) =>
    [...keys.values()].map((key) => Buffer.from(key).toString("hex"));
  assert.deepEqual(hex(ok4), ["666c30313233343536373839616263000a000001"]);
  assert.deepEqual(hex(ok6), ["666c3100000000000000000000000000fd000000000000000000000000000001"]);
});

void test("entries survive the way to keys and back, duplicates as one", () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { maxLength: 20 }), (entries) => {
      const { ok4, ok6 } = guardKeys([...entries, ...entries]);
      const back = [...ok4.values(), ...ok6.values()].map(guardEntry);
      const text = (list: readonly GuardEntry[]) =>
        [...new Set(list.map(({ link, address }) => `${link} ${address}`))].sort();
      assert.deepEqual(text(back), text(entries));
      assert.equal(back.length, text(entries).length);
    }),
  );
});

void test("names that the guard does not look at, or the kernel cannot hold, are refused", () => {
  const refused = ["eth0", "", "fl01234567890123", "flé012345678901", "fl\0x"];
  for (const link of refused) assert.throws(() => guardKeys([entry(link, "10.0.0.1")]), { code: "bug" }, link);
  const tooMany = Array.from({ length: guardEntriesMax + 1 }, () => entry("fl1", "10.0.0.1"));
  assert.throws(() => guardKeys(tooMany), /at most 8192/);
});

void test("differences are taken set by set", () => {
  const a = guardKeys([entry("fl1", "10.0.0.1"), entry("fl2", "10.0.0.2"), entry("fl1", "fd00::1")]);
  const b = guardKeys([entry("fl2", "10.0.0.2"), entry("fl1", "fd00::1"), entry("fl1", "fd00::2")]);
  const entries = (keys: typeof a) => [...keys.ok4.values(), ...keys.ok6.values()].map(guardEntry);
  assert.deepEqual(entries(selectKeys(a, b, false)), [entry("fl1", "10.0.0.1")]);
  assert.deepEqual(entries(selectKeys(a, b, true)), [entry("fl2", "10.0.0.2"), entry("fl1", "fd00::1")]);
  assert.deepEqual(entries(selectKeys(b, a, false)), [entry("fl1", "fd00::2")]);
});

void test("keys of another length are left out: they are of a set that is not ours", () => {
  assert.equal(indexKeys("ok4", [Buffer.alloc(4), Buffer.alloc(20), Buffer.alloc(32)]).size, 1);
});
