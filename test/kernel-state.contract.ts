// The kernel contract's part on what a namespace holds beside links: addresses, routes, rules, neighbours.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Netns, type Op, type Route, type Rule, routeProtocol } from "../src/kernel/contract.ts";
import { cidrBase } from "../src/net/cidr.ts";
import { ipFamily } from "../src/net/ip.ts";
import { type MakeKernel, applyOk, cidr, codes, faultOf, ip, mac, makePair, podMac } from "./kernel-stage.ts";

export function testAddresses(make: MakeKernel): void {
  const texts = ["10.1.2.3/24", "10.1.2.4/32", "169.254.7.7/16", "fd00::3/64", "fd00::4/128"];
  const parts = texts.map((text) => {
    const [address = "", prefix] = text.split("/");
    return { address: ip(address), prefix: Number(prefix) };
  });

  void test("addresses of both families are usable at once and bring no route of their own", async (t) => {
    const { pod, peerIndex } = await makePair(t, make);
    await applyOk(
      pod,
      parts.map((part): Op => ({ op: "address.add", link: peerIndex, ...part })),
    );
    const seen = await pod.addresses();
    assert.deepEqual(new Set(seen.map(({ address, prefix }) => `${address}/${prefix}`)), new Set(texts));
    assert.ok(seen.every(({ tentative, link }) => !tentative && link === peerIndex));
    const scoped = seen.filter(({ scope }) => scope !== "global").map(({ address, scope }) => [address, scope]);
    assert.deepEqual(scoped, [["169.254.7.7", "link"]]);
    const tables = (await pod.routes()).map(({ table }) => table);
    assert.ok(
      tables.every((table) => table === 255),
      "only the local table may gain routes",
    );
  });

  void test("an address exists once; removing it twice, or from no link, succeeds", async (t) => {
    const { pod, peerIndex } = await makePair(t, make);
    for (const part of parts) {
      const add: Op = { op: "address.add", link: peerIndex, ...part };
      const remove: Op = { op: "address.remove", link: peerIndex, ...part };
      assert.deepEqual(await codes(pod, [add, add, remove]), ["ok", "kernel-exists", "ok"], part.address);
      assert.deepEqual(await codes(pod, [remove, { ...remove, link: 4711 }]), ["ok", "ok"], part.address);
      assert.deepEqual(await codes(pod, [{ ...add, link: 4711 }]), ["kernel-missing"], part.address);
    }
    assert.deepEqual(await pod.addresses(), []);
  });

  void test("a prefix that the family does not have is refused before anything is done", async (t) => {
    const { pod, peerIndex } = await makePair(t, make);
    const good: Op = { op: "address.add", link: peerIndex, address: ip("10.0.0.1"), prefix: 32 };
    for (const bad of [
      { ...good, prefix: 33 },
      { ...good, prefix: -1 },
      { ...good, link: 0 },
    ]) {
      await assert.rejects(pod.apply([good, bad]), faultOf("kernel-refused"));
    }
    assert.deepEqual(await pod.addresses(), []);
  });
}

/** Routes that are ours, in a stable order. */
async function ownRoutes(netns: Netns): Promise<Route[]> {
  return sorted((await netns.routes()).filter(({ protocol }) => protocol === routeProtocol));
}

const add = (route: Route): Op => ({ op: "route.add", route });
const replace = (route: Route): Op => ({ op: "route.replace", route });
const remove = (route: Route): Op => ({ op: "route.remove", route });

export function testRoutes(make: MakeKernel): void {
  void test("a route reads back in its shortest form", async (t) => {
    const { pod, peerIndex: link } = await makePair(t, make);
    await applyOk(pod, [
      { op: "address.add", link, address: ip("10.0.0.5"), prefix: 32 },
      { op: "address.add", link, address: ip("fd00::5"), prefix: 128 },
    ]);
    const protocol = routeProtocol;
    const routes: Route[] = [
      { to: cidr("169.254.1.1/32"), link, scope: "link", protocol },
      { to: cidr("0.0.0.0/0"), link, via: ip("169.254.1.1"), src: ip("10.0.0.5"), protocol },
      { to: cidr("10.1.0.0/16"), link, via: ip("169.254.1.1"), metric: 50, mtu: 1300, protocol },
      { to: cidr("10.2.0.0/16"), type: "unreachable", metric: 4_000_000, protocol },
      { to: cidr("10.3.0.0/16"), type: "blackhole", table: 1000, protocol },
      { to: cidr("10.4.0.0/16"), link, table: 100, protocol },
      { to: cidr("fe80::1/128"), link, protocol },
      { to: cidr("::/0"), link, via: ip("fe80::1"), protocol },
      { to: cidr("fd01::/64"), link, via: ip("fe80::1"), metric: 50, mtu: 1300, src: ip("fd00::5"), protocol },
      { to: cidr("fd02::/64"), type: "unreachable", protocol },
      { to: cidr("fd03::/64"), type: "blackhole", table: 1000, metric: 7, protocol },
    ];
    await applyOk(pod, routes.map(add));
    assert.deepEqual(await ownRoutes(pod), sorted(routes));
    await applyOk(pod, routes.map(remove));
    assert.deepEqual(await ownRoutes(pod), []);
  });

  void test("what is said though the kernel would choose it, is not read back", async (t) => {
    const { pod, peerIndex: link } = await makePair(t, make);
    const defaults = { table: 254, type: "unicast", scope: "global", protocol: routeProtocol } as const;
    const routes: Route[] = [
      { to: cidr("10.1.0.0/16"), link, metric: 0, ...defaults },
      { to: cidr("fd01::/64"), link, metric: 1024, ...defaults },
    ];
    await applyOk(pod, routes.map(add));
    assert.deepEqual(await ownRoutes(pod), sorted(routes.map(({ to }) => ({ to, link, protocol: routeProtocol }))));
    await applyOk(pod, routes.map(remove));
    assert.deepEqual(await ownRoutes(pod), []);
  });

  void test("adding what is there fails, replacing changes it, removing twice succeeds", async (t) => {
    const { pod, peerIndex: link } = await makePair(t, make);
    const gateways: Route[] = [
      { to: cidr("10.9.9.9/32"), link, scope: "link", protocol: routeProtocol },
      { to: cidr("fd09::9/128"), link, protocol: routeProtocol },
    ];
    for (const gateway of gateways) {
      const via = cidrBase(gateway.to);
      const to = ipFamily(via) === 4 ? "10.1.0.0/16" : "fd01::/64";
      const plain: Route = { to: cidr(to), link, protocol: routeProtocol };
      const changed: Route = { ...plain, via, mtu: 1234 };
      assert.deepEqual(await codes(pod, [add(plain), add(plain), add(gateway)]), ["ok", "kernel-exists", "ok"], to);
      await applyOk(pod, [replace(changed), replace({ ...plain, metric: 9 })]);
      assert.deepEqual(await ownRoutes(pod), sorted([gateway, changed, { ...plain, metric: 9 }]), to);
      await applyOk(pod, [remove(plain), remove(plain), remove({ ...plain, metric: 9 }), remove(gateway)]);
      assert.deepEqual(await ownRoutes(pod), [], to);
    }
  });

  void test("a removal takes the route of its own metric, table, link and maker, and no other", async (t) => {
    const { pod, peerIndex: link } = await makePair(t, make);
    for (const to of ["10.1.0.0/16", "fd01::/64"]) {
      const route: Route = { to: cidr(to), link, metric: 10 };
      const others: Route[] = [
        { ...route, metric: 20 },
        { ...route, table: 100 },
        { ...route, metric: 30, protocol: 4 },
      ];
      await applyOk(pod, [add(route), ...others.map(add)]);
      await applyOk(pod, [remove(route), remove({ ...route, metric: 30 }), remove({ ...route, metric: 20, link: 1 })]);
      const left = (await pod.routes()).filter((seen) => seen.to === to);
      assert.deepEqual(sorted(left), sorted(others.map((other) => ({ protocol: routeProtocol, ...other }))), to);
      await applyOk(pod, others.map(remove));
      assert.deepEqual(
        (await pod.routes()).filter((seen) => seen.to === to),
        [],
        to,
      );
    }
  });

  void test("an IPv6 removal without a metric means the default metric", async (t) => {
    const { pod, peerIndex: link } = await makePair(t, make);
    const other: Route = { to: cidr("fd01::/64"), link, metric: 5, protocol: routeProtocol };
    await applyOk(pod, [add(other), remove({ to: other.to, link })]);
    assert.deepEqual(await ownRoutes(pod), [other]);
  });

  void test("routes that cannot be", async (t) => {
    const { pod, peerIndex: link } = await makePair(t, make);
    for (const [to, elsewhere] of [
      ["10.1.0.0/16", "10.8.8.8"],
      ["fd01::/64", "fd08::8"],
    ] as const) {
      const route: Route = { to: cidr(to), link };
      const results = await codes(pod, [
        add({ ...route, via: ip(elsewhere) }), // nobody knows how to reach this next hop
        add({ ...route, src: ip(elsewhere) }), // not an address of ours
        add({ ...route, link: 4711 }),
        add({ ...route, link: 1 }), // the loopback is down
      ]);
      assert.deepEqual(results, ["kernel-refused", "kernel-refused", "kernel-missing", "kernel-refused"], to);
    }
    assert.deepEqual(await ownRoutes(pod), []);
    const good: Route = { to: cidr("10.5.0.0/16"), link };
    const unsayable: Route[] = [
      { ...good, src: ip("fd00::1") },
      { ...good, link: 0 },
      { ...good, type: "other" },
      { to: cidr("fd01::/64"), link, via: ip("10.0.0.1") },
    ];
    for (const bad of unsayable) await assert.rejects(pod.apply([add(good), add(bad)]), faultOf("kernel-refused"));
    assert.deepEqual(await ownRoutes(pod), []);
  });

  void test("a link that goes down takes its routes and neighbours along", async (t) => {
    const { node, index: link } = await makePair(t, make);
    const routes: Route[] = [
      { to: cidr("10.0.0.5/32"), link, scope: "link" },
      { to: cidr("fd00::5/128"), link },
      { to: cidr("10.9.0.0/16"), type: "unreachable" },
    ];
    await applyOk(node, [
      ...routes.map(add),
      { op: "neighbour.set", link, address: ip("10.0.0.5"), mac: podMac },
      { op: "neighbour.set", link, address: ip("fd00::5"), mac: podMac },
      { op: "link.set", link, up: false },
    ]);
    assert.deepEqual(
      (await ownRoutes(node)).map(({ to }) => to),
      ["10.9.0.0/16"],
    );
    assert.deepEqual(await node.neighbours(), []);
  });
}

export function testRules(make: MakeKernel): void {
  const plain: Rule[] = [
    { family: 4, priority: 1000, table: 100, from: cidr("10.0.0.0/8") },
    { family: 4, priority: 1001, table: 101, to: cidr("10.1.0.0/16"), mark: 0x10, mask: 0xf0 },
    { family: 4, priority: 1001, table: 102, mark: 0x20 },
    { family: 4, priority: 1002, table: 1000, mark: 0, mask: 0xff },
    { family: 6, priority: 1000, table: 100, from: cidr("fd00::5/128"), to: cidr("fd01::/64") },
    { family: 6, priority: 1003, table: 5 },
  ];
  const rules = plain.map((rule): Rule => ({ ...rule, protocol: routeProtocol }));
  const own = async (netns: Netns) => (await netns.rules()).filter(({ protocol }) => protocol === routeProtocol);

  void test("rules read back as they were made, exist once, and are removed twice", async (t) => {
    const { node } = (await make(t)).kernel;
    const adds = plain.map((rule): Op => ({ op: "rule.add", rule }));
    const removes = rules.map((rule): Op => ({ op: "rule.remove", rule }));
    await applyOk(node, adds);
    assert.deepEqual(await own(node), rules);
    assert.deepEqual(new Set(await codes(node, adds)), new Set(["kernel-exists"]));
    await applyOk(node, removes.slice(0, 2));
    assert.deepEqual(await own(node), rules.slice(2));
    await applyOk(node, removes);
    assert.deepEqual(await own(node), []);
    assert.equal((await node.rules()).length, 5, "the kernel's own rules stay");
  });

  void test("a rule's networks are of its family, which is known before anything is done", async (t) => {
    const { node } = (await make(t)).kernel;
    const good: Rule = { family: 4, priority: 1000, table: 100 };
    const bad: Rule = { ...good, from: cidr("fd00::/64") };
    const ops = [good, bad].map((rule): Op => ({ op: "rule.add", rule }));
    await assert.rejects(node.apply(ops), faultOf("kernel-refused"));
    assert.deepEqual(await own(node), []);
  });
}

export function testNeighbours(make: MakeKernel): void {
  void test("neighbours of both families are set, changed and removed", async (t) => {
    const { node, index: link } = await makePair(t, make);
    for (const address of [ip("10.0.0.5"), ip("fd00::5"), ip("fe80::1")]) {
      const set: Op = { op: "neighbour.set", link, address, mac: podMac };
      await applyOk(node, [set, set]);
      assert.deepEqual(await node.neighbours(), [{ link, address, mac: podMac, permanent: true }]);
      await applyOk(node, [{ ...set, mac: mac("02:00:00:00:00:77") }]);
      assert.deepEqual(
        (await node.neighbours()).map((entry) => entry.mac),
        ["02:00:00:00:00:77"],
      );
      const remove: Op = { op: "neighbour.remove", link, address };
      await applyOk(node, [remove, remove, { ...remove, link: 4711 }]);
      assert.deepEqual(await node.neighbours(), []);
      assert.deepEqual(await codes(node, [{ ...set, link: 4711 }]), ["kernel-missing"]);
    }
  });

  void test("a link that gets another hardware address keeps its routes and forgets its neighbours", async (t) => {
    const { node, index: link } = await makePair(t, make);
    await applyOk(node, [
      add({ to: cidr("10.0.0.5/32"), link, scope: "link" }),
      { op: "neighbour.set", link, address: ip("10.0.0.5"), mac: podMac },
      { op: "neighbour.set", link, address: ip("fd00::5"), mac: podMac },
      { op: "link.set", link, mac: mac("02:00:00:00:00:77") },
    ]);
    assert.deepEqual(
      (await ownRoutes(node)).map(({ to }) => to),
      ["10.0.0.5/32"],
    );
    assert.deepEqual(await node.neighbours(), []);
    assert.deepEqual(await codes(node, [{ op: "link.set", link, mac: mac("01:00:00:00:00:01") }]), ["kernel-missing"]);
  });
}

function sorted(routes: readonly Route[]): Route[] {
  const key = ({ to, metric = 0, table = 0 }: Route): string => `${to} ${table} ${metric}`;
  return routes.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}
