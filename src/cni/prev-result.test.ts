// prevResult of other plugins and other versions: what is tolerated, what is named as unreadable.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { isFault } from "../base/fault.ts";
import { parseResult, resultEntriesMax } from "./prev-result.ts";

function refuses(value: unknown, message: RegExp): void {
  assert.throws(
    () => parseResult(value),
    (error) => isFault(error, "bad-network-config") && message.test(error.message),
    JSON.stringify(value).slice(0, 100),
  );
}

void test("absent and null lists are empty", () => {
  const empty = { interfaces: [], ips: [], routes: [] };
  assert.deepEqual(parseResult({}), empty);
  assert.deepEqual(parseResult({ cniVersion: "9.9.9", interfaces: null, ips: null, routes: null, dns: null }), empty);
  assert.deepEqual(parseResult({ dns: {} }), empty);
  assert.deepEqual(parseResult({ dns: { nameservers: [], domain: "" } }), empty);
});

void test("the oldest shape is known by its keys, whatever version it claims", () => {
  const old = {
    cniVersion: "1.1.0",
    ip4: { ip: "10.0.0.5/24", gateway: "10.0.0.1", routes: [{ dst: "0.0.0.0/0" }] },
    ip6: { ip: "FD00::5/64" },
    dns: { nameservers: ["10.0.0.10"] },
  };
  assert.deepEqual(parseResult(old), {
    interfaces: [],
    ips: [
      { address: "10.0.0.5", prefix: 24, gateway: "10.0.0.1" },
      { address: "fd00::5", prefix: 64 },
    ],
    routes: [{ to: "0.0.0.0/0" }],
    dns: { nameservers: ["10.0.0.10"] },
  });
  for (const one of [
    { ip4: null, ip6: { ip: "fd00::5/64" } },
    { ip6: { ip: "fd00::5/64" } },
    { ip4: { ip: "10.0.0.5/24" } },
  ])
    assert.equal(parseResult(one).ips.length, 1, JSON.stringify(one));
});

void test("what other plugins write is tolerated: foreign keys, 20-byte hardware addresses, host bits in routes, empty gateways", () => {
  const result = {
    interfaces: [
      { name: "ib0", mac: "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:10:39", pciID: "0000:01:00.0" },
    ],
    ips: [{ version: "4", interface: 0, address: "10.0.0.5/24", gateway: "" }],
    routes: [{ dst: "10.1.2.3/16", gw: "10.0.0.1", scope: 0, foreign: {} }],
  };
  assert.deepEqual(parseResult(result), {
    interfaces: [{ name: "ib0", sandbox: "" }],
    ips: [{ interface: 0, address: "10.0.0.5", prefix: 24 }],
    routes: [{ to: "10.1.0.0/16", via: "10.0.0.1", scope: 0 }],
  });
});

void test("what cannot be read is named by its place", () => {
  refuses("x", /^prevResult must be an object, not "x"/);
  refuses({ ips: {} }, /^prevResult\.ips must be an array/);
  refuses({ ips: [null] }, /^prevResult\.ips\[0\] must be an object/);
  refuses({ ips: [{}] }, /^prevResult\.ips\[0\]\.address must be an address/);
  refuses({ ips: [{ address: "10.0.0.1/33" }] }, /^prevResult\.ips\[0\]\.address/);
  refuses({ ips: [{ address: "10.0.0.1/8", gateway: "x" }] }, /^prevResult\.ips\[0\]\.gateway/);
  refuses({ interfaces: [{ name: "a", mtu: 1.5 }] }, /^prevResult\.interfaces\[0\]\.mtu/);
  refuses({ interfaces: [{ name: 1 }] }, /^prevResult\.interfaces\[0\]\.name/);
  refuses({ routes: [{ dst: "10.0.0.0" }] }, /^prevResult\.routes\[0\]\.dst/);
  refuses({ ip4: { ip: "10.0.0.1/8", routes: [{ dst: 1 }] } }, /^prevResult\.ip4\.routes\[0\]\.dst/);
  refuses({ dns: { search: [1] } }, /^prevResult\.dns\.search/);
});

void test("an interface index must point at an interface", () => {
  const at = (index: unknown): unknown => ({
    interfaces: [{ name: "a" }],
    ips: [{ address: "10.0.0.1/8", interface: index }],
  });
  assert.equal(parseResult(at(0)).ips[0]?.interface, 0);
  refuses(at(1), /interface is 1, and there are 1 interfaces/);
  refuses(at(-1), /interface must be a whole number/);
  refuses(at("0"), /interface must be a whole number/);
});

void test("lists are bounded", () => {
  const many = (length: number): unknown => ({ routes: Array.from({ length }, () => ({ dst: "0.0.0.0/0" })) });
  assert.equal(parseResult(many(resultEntriesMax)).routes.length, resultEntriesMax);
  refuses(many(resultEntriesMax + 1), /at most 1024/);
});

void test("hostile keys do not reach the result", () => {
  const result = parseResult(JSON.parse('{"__proto__":{"ips":[{"address":"10.0.0.1/8"}]},"constructor":{}}'));
  assert.deepEqual(result.ips, []);
});

void test("random JSON gives a result or code 7", () => {
  const leaf = fc.constantFrom<unknown>(
    "10.0.0.1/8",
    "fd00::1/64",
    "10.0.0.1",
    "::",
    "",
    "x",
    0,
    1,
    -1,
    1.5,
    null,
    true,
    [],
    {},
    [[]],
  );
  const entry = fc.dictionary(
    fc.constantFrom("address", "dst", "gw", "gateway", "interface", "name", "mtu", "ip", "routes"),
    leaf,
  );
  const part = fc.oneof(fc.array(fc.oneof(entry, leaf), { maxLength: 3 }), entry, leaf);
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom("interfaces", "ips", "routes", "dns", "ip4", "ip6"), part), (value) => {
      try {
        parseResult(value);
      } catch (error) {
        assert.ok(isFault(error, "bad-network-config"), String(error));
      }
    }),
    { numRuns: 2000 },
  );
});
