// Results in the shape of each version, written out by hand from the specification; and back again.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { Fault, isFault } from "../base/fault.ts";
import { cidrOf, parseCidr } from "../net/cidr.ts";
import { type Ip, ipFamily, ipFromBytes, parseIp } from "../net/ip.ts";
import { macFromBytes, parseMac } from "../net/mac.ts";
import { parseResult } from "./prev-result.ts";
import { errorObject, errorTextLengthMax, resultObject, versionObject } from "./result.ts";
import { type AttachmentResult, atLeast, type CniVersion, type JsonObject, supportedVersions } from "./types.ts";

function must<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}
const ip = (text: string): Ip => must(parseIp(text));

const dual: AttachmentResult = {
  interfaces: [
    { name: "fl0123456789abc", mac: must(parseMac("02:00:00:00:00:01")), mtu: 1460, sandbox: "" },
    { name: "eth0", mac: must(parseMac("02:00:00:00:00:02")), mtu: 1460, sandbox: "/run/netns/x" },
  ],
  ips: [
    { interface: 1, address: ip("10.4.0.5"), prefix: 32, gateway: ip("169.254.1.1") },
    { interface: 1, address: ip("fd00::5"), prefix: 128, gateway: ip("fe80::1") },
  ],
  routes: [
    { to: must(parseCidr("0.0.0.0/0")), via: ip("169.254.1.1"), mtu: 1400 },
    { to: must(parseCidr("::/0")), via: ip("fe80::1") },
  ],
};

const familyShape = {
  ip4: { ip: "10.4.0.5/32", gateway: "169.254.1.1", routes: [{ dst: "0.0.0.0/0", gw: "169.254.1.1" }] },
  ip6: { ip: "fd00::5/128", gateway: "fe80::1", routes: [{ dst: "::/0", gw: "fe80::1" }] },
};
const listShape = {
  interfaces: [
    { name: "fl0123456789abc", mac: "02:00:00:00:00:01", sandbox: "" },
    { name: "eth0", mac: "02:00:00:00:00:02", sandbox: "/run/netns/x" },
  ],
  ips: [
    { version: "4", interface: 1, address: "10.4.0.5/32", gateway: "169.254.1.1" },
    { version: "6", interface: 1, address: "fd00::5/128", gateway: "fe80::1" },
  ],
  routes: [
    { dst: "0.0.0.0/0", gw: "169.254.1.1" },
    { dst: "::/0", gw: "fe80::1" },
  ],
};
const withoutIpVersion = {
  ...listShape,
  ips: [
    { interface: 1, address: "10.4.0.5/32", gateway: "169.254.1.1" },
    { interface: 1, address: "fd00::5/128", gateway: "fe80::1" },
  ],
};
const withMtu = {
  ...withoutIpVersion,
  interfaces: listShape.interfaces.map((entry) => Object.assign({ mtu: 1460 }, entry)),
  routes: [{ dst: "0.0.0.0/0", gw: "169.254.1.1", mtu: 1400 }, listShape.routes[1]],
};

const expected: Record<CniVersion, JsonObject> = {
  "0.1.0": familyShape,
  "0.2.0": familyShape,
  "0.3.0": listShape,
  "0.3.1": listShape,
  "0.4.0": listShape,
  "1.0.0": withoutIpVersion,
  "1.1.0": withMtu,
};

for (const version of supportedVersions) {
  void test(`the result has the shape of ${version} and says so`, () => {
    assert.deepEqual(resultObject(dual, version), { cniVersion: version, ...expected[version] });
  });
}

void test("0.1.0 and 0.2.0 hold the first address of each family", () => {
  const second = { interface: 1, address: ip("10.4.0.6"), prefix: 24 };
  const result = resultObject({ ...dual, ips: [...dual.ips, second] }, "0.2.0");
  assert.deepEqual(result, { cniVersion: "0.2.0", ...familyShape });
  const [, six] = dual.ips;
  assert.deepEqual(resultObject({ ...dual, ips: [must(six)] }, "0.1.0"), { cniVersion: "0.1.0", ip6: familyShape.ip6 });
  assert.deepEqual(resultObject({ ...dual, ips: [second], routes: [] }, "0.2.0"), {
    cniVersion: "0.2.0",
    ip4: { ip: "10.4.0.6/24" },
  });
});

void test("dns is there exactly where it holds something", () => {
  const dns = { nameservers: ["10.0.0.10"], domain: "x", search: ["a.b"], options: ["ndots:5"] };
  for (const version of supportedVersions) {
    assert.deepEqual(resultObject({ ...dual, dns }, version)["dns"], dns);
    assert.ok(!("dns" in resultObject({ ...dual, dns: {} }, version)));
  }
});

void test("a result without any address is a bug of ours", () => {
  assert.throws(
    () => resultObject({ ...dual, ips: [] }, "1.1.0"),
    (error) => isFault(error, "bug"),
  );
});

void test("in a chain, what came before is passed on unmodified and ours follows it, its index moved along", () => {
  const previous = {
    cniVersion: "1.1.0",
    interfaces: [{ name: "net0", pciID: "0000:00:1f.6", sandbox: "/run/netns/x" }],
    ips: [{ interface: 0, address: "192.0.2.1/24", foreign: true }],
    dns: { nameservers: ["192.0.2.53"] },
    foreign: [1],
  };
  const before = structuredClone(previous);
  const result = resultObject(dual, "1.1.0", previous);
  assert.deepEqual(previous, before);
  assert.deepEqual(result, {
    cniVersion: "1.1.0",
    interfaces: [...before.interfaces, ...withMtu.interfaces],
    ips: [...before.ips, ...withMtu.ips.map((entry) => Object.assign({}, entry, { interface: 2 }))],
    routes: withMtu.routes,
    dns: before.dns,
    foreign: [1],
  });
});

void test("in a chain of the oldest versions, an address that came before stays and ours fills the other family", () => {
  const previous = { cniVersion: "0.2.0", ip4: { ip: "192.0.2.1/24" }, ip6: null };
  assert.deepEqual(resultObject(dual, "0.2.0", previous), {
    cniVersion: "0.2.0",
    ip4: previous.ip4,
    ip6: familyShape.ip6,
  });
});

const anyIp = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map(ipFromBytes),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => {
    bytes[0] = 0x20; // stay clear of the mapped block
    return ipFromBytes(bytes);
  }),
);
const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes);
const anyResult: fc.Arbitrary<AttachmentResult> = fc.record(
  {
    interfaces: fc.array(
      fc.record(
        { name: fc.string(), mac: anyMac, mtu: fc.nat(), sandbox: fc.string() },
        { noNullPrototype: true, requiredKeys: ["name", "sandbox"] },
      ),
      { minLength: 1, maxLength: 3 },
    ),
    ips: fc.array(
      fc.record(
        { interface: fc.constant(0), address: anyIp, prefix: fc.nat(32), gateway: anyIp },
        { noNullPrototype: true, requiredKeys: ["address", "prefix"] },
      ),
      { minLength: 1, maxLength: 4 },
    ),
    routes: fc.array(
      fc.record(
        {
          to: fc.tuple(anyIp, fc.nat(32)).map(([address, prefix]) => cidrOf(address, prefix)),
          via: anyIp,
          mtu: fc.nat(),
          advmss: fc.nat(),
          priority: fc.nat(),
          table: fc.nat(),
          scope: fc.nat(255),
        },
        { noNullPrototype: true, requiredKeys: ["to"] },
      ),
      { maxLength: 3 },
    ),
    dns: fc.record(
      { nameservers: fc.array(fc.string(), { minLength: 1 }), domain: fc.string({ minLength: 1 }) },
      { noNullPrototype: true },
    ),
  },
  { noNullPrototype: true, requiredKeys: ["interfaces", "ips", "routes"] },
);

void test("a result of version 1.1.0 is read back whole", () => {
  fc.assert(
    fc.property(anyResult, (result) => {
      assert.deepEqual(parseResult(JSON.parse(JSON.stringify(resultObject(result, "1.1.0")))), result);
    }),
  );
});

void test("a result of any version is read back with the addresses that the version can hold", () => {
  fc.assert(
    fc.property(anyResult, fc.constantFrom(...supportedVersions), (result, version) => {
      const parsed = parseResult(JSON.parse(JSON.stringify(resultObject(result, version))));
      const firsts = [4, 6].flatMap((family) =>
        result.ips.filter(({ address }) => ipFamily(address) === family).slice(0, 1),
      );
      const held = atLeast(version, "0.3.0") ? result.ips : firsts;
      assert.deepEqual(
        parsed.ips.map(({ address, prefix, gateway }) => [address, prefix, gateway]),
        held.map(({ address, prefix, gateway }) => [address, prefix, gateway]),
      );
    }),
  );
});

void test("an error is an object with version, code and message, and details where there is a cause", () => {
  const cause = new Error("outer", { cause: new Error("inner") });
  assert.deepEqual(errorObject(new Fault("pool-empty", "no address is free", { cause }), "0.4.0"), {
    cniVersion: "0.4.0",
    code: 11,
    msg: "no address is free",
    details: "outer: inner",
  });
  assert.deepEqual(errorObject(new Fault("bad-netns", "own namespace")), {
    cniVersion: "1.1.0",
    code: 8,
    msg: "own namespace",
  });
});

void test("anything thrown becomes an error object; what is no Fault is code 999", () => {
  for (const thrown of [new TypeError("x"), "text", undefined, null, { a: 1 }]) {
    const { code, msg } = errorObject(thrown);
    assert.equal(code, 999);
    assert.ok(typeof msg === "string" && msg !== "");
  }
});

void test("message and details are cut, and carry no control character", () => {
  const long = `\u{1b}[2J\n${"x".repeat(100_000)}`;
  const { msg, details } = errorObject(new Fault("io-failure", long, { cause: new Error(long) }));
  for (const text of [msg, details]) {
    assert.ok(typeof text === "string" && text.length <= errorTextLengthMax && text.length > 1000);
    assert.ok(!/\p{Cc}/u.test(text));
  }
});

void test("the answer to VERSION lists every version", () => {
  assert.deepEqual(versionObject("0.4.0"), {
    cniVersion: "0.4.0",
    supportedVersions: ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
  });
});
