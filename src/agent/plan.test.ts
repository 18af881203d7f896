// The plan of an attachment: names that fit the kernel, numbers that stay ours, and operations for each family.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { testIp, testWired } from "../../test/store.contract.ts";
import { attachmentKey } from "../ipam/store.ts";
import { present } from "../base/assert.ts";
import { parseCidr } from "../net/cidr.ts";
import { macBytes } from "../net/mac.ts";
import {
  attachmentOfAlias,
  attachmentResult,
  derivedNames,
  doomedName,
  hostLinkAlias,
  hostOps,
  podNeighbours,
  podOps,
  podRoutes,
} from "./plan.ts";

const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,60}$/);
const id = fc.record({ network: name, containerId: name, ifname: fc.stringMatching(/^[a-z0-9@_-]{1,15}$/) });

test("host link names fit the kernel, begin with ours, differ, and are never a doomed one's", () => {
  fc.assert(
    fc.property(id, id, fc.integer({ min: 1, max: 2 ** 31 - 1 }), (a, b, index) => {
      const one = derivedNames(a);
      assert.match(one.hostLink, /^fl[0-9a-f]{13}$/);
      assert.equal(one.hostLink === derivedNames(b).hostLink, attachmentKey(a) === attachmentKey(b));
      assert.match(doomedName(index), /^flx[0-9a-z]{1,12}$/);
      assert.notEqual(one.hostMac, one.podMac);
      for (const mac of [one.hostMac, one.podMac]) assert.equal((macBytes(mac)[0] ?? 0) & 3, 2, "local, unicast");
    }),
  );
  const whole = { network: "n", containerId: "c", ifname: "eth0" };
  for (const part of [{ network: "m" }, { containerId: "d" }, { ifname: "eth1" }]) {
    assert.notEqual(derivedNames({ ...whole, ...part }).hostLink, derivedNames(whole).hostLink);
  }
});

test("the alias names the attachment and is read back; other text is not taken for one", () => {
  fc.assert(
    fc.property(id, (attachment) => {
      assert.deepEqual(attachmentOfAlias(hostLinkAlias(attachment)), { ...attachment });
    }),
  );
  for (const text of [
    "",
    "eth0",
    "fairlead1",
    "fairlead1 ",
    "fairlead1 a/b",
    "fairlead1 a/b/c/d",
    "fairlead2 a/b/c",
    "fairlead1 //",
  ]) {
    assert.equal(attachmentOfAlias(text), undefined, text);
  }
});

test("a family without an address has no operation and no part of the result", () => {
  const v4 = testWired({ addresses: [testIp("10.4.1.1")] });
  const v6 = testWired({ addresses: [testIp("fd00:4:1::1")] });
  const text = (value: unknown): string => JSON.stringify(value);
  for (const part of [podOps(v4), hostOps(v4, {}), attachmentResult(v4)])
    assert.doesNotMatch(text(part), /fe80|fd00|::/);
  for (const part of [podOps(v6), hostOps(v6, {}), attachmentResult(v6)])
    assert.doesNotMatch(text(part), /169\.254|10\.4|0\.0\.0\.0/);
});

test("the node's end gets no address, and pod routes carry the node's own as source", () => {
  const ops = hostOps(testWired(), { 4: testIp("172.30.0.11"), 6: testIp("fd00:30::11") });
  assert.ok(!ops.some(({ op }) => op === "address.add"));
  const sources = ops.flatMap((op) => (op.op === "route.replace" ? [op.route.src] : []));
  assert.deepEqual(sources, ["172.30.0.11", "fd00:30::11"]);
});

test("further addresses of a family get no second default route; further destinations go the same way", () => {
  const wired = testWired({ addresses: [testIp("10.4.1.2"), testIp("10.4.9.2"), testIp("fd00:4:1::2")] });
  const to = present(parseCidr("10.99.0.0/16"), "network");
  const attachment = { ...wired, wire: { ...wired.wire, routes: [to] } };
  assert.deepEqual(
    podRoutes(attachment).map((route) => [route.to, route.src ?? "-"]),
    [
      ["169.254.1.1/32", "-"],
      ["0.0.0.0/0", "10.4.1.2"],
      ["10.99.0.0/16", "10.4.1.2"],
      ["fe80::1/128", "-"],
      ["::/0", "-"],
    ],
  );
  assert.deepEqual(
    attachmentResult(attachment).routes.map((route) => route.to),
    ["0.0.0.0/0", "10.99.0.0/16", "::/0"],
  );
  assert.equal(podNeighbours(attachment).length, 2);
});
