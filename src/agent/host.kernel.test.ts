// The node's own settings and routes: made, repaired, and what is not ours left alone.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { makeNetns, type TestNetns } from "../../test/netns.ts";
import { createBrake } from "../base/brake.ts";
import { present } from "../base/assert.ts";
import { silentLog } from "../base/log.ts";
import { createMetrics } from "../base/metrics.ts";
import type { Kernel } from "../kernel/contract.ts";
import { openKernel } from "../kernel/kernel.ts";
import { parseCidr } from "../net/cidr.ts";
import { parseIp } from "../net/ip.ts";
import { type HostPlan, syncHost } from "./host.ts";

const cidr = (text: string): NonNullable<ReturnType<typeof parseCidr>> => present(parseCidr(text), text);
const ip = (text: string): NonNullable<ReturnType<typeof parseIp>> => present(parseIp(text), text);

const plan: HostPlan = {
  blocks: [cidr("10.4.1.0/24"), cidr("fd00:10:4:1::/64")],
  routes: [
    { to: cidr("10.4.2.0/24"), via: ip("172.30.0.12") },
    { to: cidr("fd00:10:4:2::/64"), via: ip("fd00:30::12") },
  ],
  complete: true,
  written: true,
  uplinkName: "eth0",
};

const settling = { settleMs: 1000, clock: () => performance.now() };

function makeNode(t: TestContext): {
  node: TestNetns;
  kernel: Kernel;
  sync: (plan: HostPlan) => Promise<void>;
  sysctl: (key: string) => string;
} {
  const node = makeNetns(t);
  node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire");
  for (const name of ["lo", "eth0", "wire"]) node.run("ip", "link", "set", name, "up");
  node.run("ip", "address", "add", "172.30.0.11/24", "dev", "eth0");
  node.run("ip", "address", "add", "fd00:30::11/64", "dev", "eth0", "nodad");
  const kernel = openKernel({ nodeNetns: node.path, log: silentLog() });
  t.after(() => kernel.close());
  return {
    node,
    kernel,
    sync: (plan) =>
      syncHost({ kernel, plan: () => plan, brake: createBrake(settling), log: silentLog(), metrics: createMetrics() }),
    sysctl: (key) => node.run("cat", `/proc/sys/net/${key}`).trim(),
  };
}

const routes = (node: TestNetns): string =>
  `${node.run("ip", "route", "show", "proto", "142")}${node.run("ip", "-6", "route", "show", "proto", "142")}`.replaceAll(
    / +\n/g,
    "\n",
  );

const wanted = [
  "unreachable 10.4.1.0/24 metric 4000000",
  "10.4.2.0/24 via 172.30.0.12 dev eth0",
  "unreachable fd00:10:4:1::/64 dev lo metric 4000000 pref medium",
  "fd00:10:4:2::/64 via fd00:30::12 dev eth0 metric 1024 pref medium",
  "",
].join("\n");

test("settings and routes are made, and a second pass changes nothing", async (t) => {
  const { node, sync, sysctl } = makeNode(t);
  await sync(plan);
  assert.equal(routes(node), wanted);
  assert.equal(sysctl("ipv4/ip_forward"), "1");
  assert.equal(sysctl("ipv6/conf/all/forwarding"), "1");
  assert.equal(sysctl("ipv6/conf/eth0/accept_ra"), "2");
  for (const key of [
    "ipv4/conf/all/send_redirects",
    "ipv4/conf/default/send_redirects",
    "ipv4/conf/default/accept_redirects",
    "ipv6/conf/default/accept_redirects",
  ])
    assert.equal(sysctl(key), "0", key);
  await sync(plan);
  assert.equal(routes(node), wanted);
});

test("what is right is not written again", async (t) => {
  const { kernel } = makeNode(t);
  const counted: number[] = [];
  const metrics = { repaired: (_what: string, count: number) => void counted.push(count) };
  for (let pass = 0; pass < 2; pass += 1)
    await syncHost({ kernel, plan: () => plan, brake: createBrake(settling), log: silentLog(), metrics });
  assert.deepEqual([counted.length, counted[1]], [2, 0]);
});

test("a cluster's ways stay while it is not known of all nodes, and do not go many at once", async (t) => {
  const { node, kernel } = makeNode(t);
  let nowMs = 0;
  const brake = createBrake({ settleMs: 1000, clock: () => nowMs });
  const ways = Array.from({ length: 10 }, (_, index) => ({ to: cidr(`10.5.${index}.0/24`), via: ip("172.30.0.12") }));
  const sync = (count: number, complete: boolean): Promise<void> =>
    syncHost({
      kernel,
      plan: () => ({ ...plan, routes: ways.slice(0, count), complete, written: false }),
      brake,
      log: silentLog(),
      metrics: createMetrics(),
    });
  const held = (): number =>
    node.run("ip", "route", "show", "via", "172.30.0.12").trim().split("\n").filter(Boolean).length;
  await sync(10, true);
  assert.equal(held(), 10);
  await sync(0, false);
  nowMs = 5000;
  await sync(0, false);
  assert.equal(held(), 10, "not all nodes are known");
  await sync(8, true);
  assert.equal(held(), 8, "a fifth goes at once");
  await sync(2, true);
  assert.equal(held(), 8, "more than a fifth waits");
  nowMs = 6000;
  await sync(2, true);
  assert.equal(held(), 2);
});

test("what was damaged comes back; what is not ours stays", async (t) => {
  const { node, sync, sysctl } = makeNode(t);
  await sync(plan);
  node.run("ip", "route", "delete", "10.4.2.0/24");
  node.run("ip", "-6", "route", "delete", "fd00:10:4:1::/64");
  node.run("ip", "route", "add", "192.0.2.0/24", "via", "172.30.0.1");
  node.run("ip", "route", "add", "198.51.100.0/24", "via", "172.30.0.1", "proto", "142");
  node.run("sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward");
  await sync(plan);
  assert.equal(routes(node), wanted, "ours that nobody wants is gone");
  assert.match(node.run("ip", "route"), /192\.0\.2\.0\/24 via 172\.30\.0\.1/);
  assert.equal(sysctl("ipv4/ip_forward"), "1");
});

test("rules of ours that nobody wants go, those of others stay", async (t) => {
  const { node, sync } = makeNode(t);
  const rules = (): string => node.run("ip", "rule") + node.run("ip", "-6", "rule");
  for (const family of ["-4", "-6"]) node.run("ip", family, "rule", "add", "priority", "5", "table", "77");
  const before = rules();
  for (const family of ["-4", "-6"]) {
    node.run("ip", family, "rule", "add", "priority", "9", "table", "77", "protocol", "142");
  }
  await sync(plan);
  assert.equal(rules(), before);
});

test("a changed next hop replaces the route", async (t) => {
  const { node, sync } = makeNode(t);
  await sync(plan);
  await sync({ ...plan, routes: [{ to: cidr("10.4.2.0/24"), via: ip("172.30.0.13") }] });
  assert.match(routes(node), /10\.4\.2\.0\/24 via 172\.30\.0\.13/);
  assert.doesNotMatch(routes(node), /172\.30\.0\.12|fd00:10:4:2/);
});

test("routes of pods are left to their attachments", async (t) => {
  const { node, sync } = makeNode(t);
  node.run("ip", "link", "add", "fl0123456789abc", "type", "veth", "peer", "name", "podend");
  node.run("ip", "link", "set", "fl0123456789abc", "up");
  node.run("ip", "route", "add", "10.4.1.7/32", "dev", "fl0123456789abc", "proto", "142");
  await sync(plan);
  assert.match(routes(node), /10\.4\.1\.7 dev fl0123456789abc/);
});

test("an uplink that does not learn from advertisements is not made to", async (t) => {
  const { node, sync, sysctl } = makeNode(t);
  node.run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_ra");
  await sync(plan);
  assert.equal(sysctl("ipv6/conf/eth0/accept_ra"), "0");
});

test("a family without a block is left alone", async (t) => {
  const { sync, sysctl } = makeNode(t);
  await sync({ ...plan, blocks: [cidr("10.4.1.0/24")], routes: [] });
  assert.equal(sysctl("ipv6/conf/all/forwarding"), "0");
  assert.equal(sysctl("ipv6/conf/eth0/accept_ra"), "1");
});
