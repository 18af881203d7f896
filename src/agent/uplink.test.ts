// Choosing the uplink: default route, then next hop, then any address; and what a node must have.

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeFakeMachine } from "../../test/model/fake-machine.ts";
import { testIp } from "../../test/store.contract.ts";
import { present } from "../base/assert.ts";
import { isFault } from "../base/fault.ts";
import type { Address, Link, Route } from "../kernel/contract.ts";
import { type Cidr, parseCidr } from "../net/cidr.ts";
import { chooseUplink, keepUplink } from "./uplink.ts";

const cidr = (text: string): Cidr => present(parseCidr(text), text);

function link(index: number, name: string, part: Partial<Link> = {}): Link {
  return { index, name, kind: "", mtu: 1500, up: true, running: true, group: 0, alias: "", ...part };
}

const address = (on: number, text: string, prefix: number, scope: Address["scope"] = "global"): Address => ({
  link: on,
  address: testIp(text),
  prefix,
  scope,
  tentative: false,
});

const links = [link(1, "lo"), link(2, "eth0", { mtu: 8896 }), link(3, "eth1")];
const addresses = [
  address(1, "127.0.0.1", 8, "host"),
  address(2, "172.30.0.11", 24),
  address(2, "172.30.0.99", 24),
  address(2, "fe80::1", 64, "link"),
  address(2, "fd00:30::11", 64),
  address(3, "10.0.0.5", 16),
];
const byDefault = (on: number, metric?: number): Route => ({
  to: cidr("0.0.0.0/0"),
  link: on,
  via: testIp("10.0.0.1"),
  ...(metric === undefined ? {} : { metric }),
});
const blocks = [cidr("10.4.1.0/24")];
const choose = (part: {
  routes?: Route[];
  vias?: string[];
  blocks?: Cidr[];
  mtu?: "auto" | number;
  links?: Link[];
  addresses?: Address[];
}): ReturnType<typeof chooseUplink> =>
  chooseUplink(
    { links: part.links ?? links, addresses: part.addresses ?? addresses, routes: part.routes ?? [] },
    { blocks: () => part.blocks ?? blocks, vias: (part.vias ?? []).map(testIp), mtu: part.mtu ?? "auto" },
  );

test("the default route decides, the one of least metric first", () => {
  assert.equal(choose({ routes: [byDefault(3)], vias: ["172.30.0.12"] }).link.name, "eth1");
  assert.equal(choose({ routes: [byDefault(3, 200), byDefault(2, 100)] }).link.name, "eth0");
});

test("an unreachable default route does not", () => {
  assert.equal(choose({ routes: [{ to: cidr("0.0.0.0/0"), type: "unreachable", link: 3 }] }).link.name, "eth0");
});

test("without one, the link that reaches the first next hop", () => {
  assert.equal(choose({ vias: ["10.0.9.9"] }).link.name, "eth1");
  assert.equal(choose({ vias: ["192.0.2.1", "10.0.9.9"] }).link.name, "eth1");
});

test("without any, the first link that is up and has a global address", () => {
  assert.equal(choose({}).link.name, "eth0");
  assert.equal(choose({ links: [link(1, "lo"), link(2, "eth0", { up: false }), link(3, "eth1")] }).link.name, "eth1");
});

test("the first global address of each family is the node's; MTU is the link's or the one given", () => {
  const { addresses: own, mtu } = choose({ blocks: [...blocks, cidr("fd00:4:1::/64")] });
  assert.deepEqual(own, { 4: "172.30.0.11", 6: "fd00:30::11" });
  assert.equal(mtu, 8896);
  assert.equal(choose({ mtu: 1400 }).mtu, 1400);
});

test("a node that lacks a family of its blocks is refused with the reason", () => {
  assert.throws(
    () => choose({ routes: [byDefault(3)], blocks: [cidr("fd00:4:1::/64")] }),
    (error) => isFault(error, "machine-unfit") && /eth1 has no global IPv6 address.*packet-too-big/.test(error.message),
  );
});

test("a node with no way out is refused", () => {
  assert.throws(() => choose({ addresses: [] }), /no uplink found/);
});

test("a kept uplink follows its link, and tells of a change once", async () => {
  const { kernel, uplink } = makeFakeMachine();
  const link = uplink.link.index;
  const [first, second] = [testIp("172.30.0.11"), testIp("172.31.0.12")];
  await kernel.node.apply([
    { op: "link.set", link, up: true },
    { op: "address.add", link, address: first, prefix: 24 },
  ]);
  const told: unknown[] = [];
  const kept = await keepUplink(kernel, { blocks: () => blocks, vias: [], mtu: "auto" }, ({ addresses }) =>
    told.push(addresses),
  );
  await kept.refresh();
  assert.deepEqual([kept.current().addresses, told], [{ 4: first }, []]);
  await kernel.node.apply([
    { op: "address.add", link, address: second, prefix: 24 },
    { op: "address.remove", link, address: first, prefix: 24 },
  ]);
  for (let time = 0; time < 2; time += 1) await kept.refresh();
  assert.deepEqual([kept.current().addresses, told], [{ 4: second }, [{ 4: second }]]);
  await kernel.node.apply([{ op: "address.remove", link, address: second, prefix: 24 }]);
  await assert.rejects(kept.refresh(), (error) => isFault(error, "machine-unfit"));
  assert.deepEqual(kept.current().addresses, { 4: second }, "the last one stays");
});
