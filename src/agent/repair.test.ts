// What is put right on the node's side of a pod: each thing that can differ, alone, and nothing where nothing does.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startFakeNode } from "../../test/model/fake-node.ts";
import { present } from "../base/assert.ts";
import { silentLog } from "../base/log.ts";
import { createMetrics } from "../base/metrics.ts";
import { testIp, testWired } from "../../test/store.contract.ts";
import type { Link, Neighbour } from "../kernel/contract.ts";
import { parseMac } from "../net/mac.ts";
import { hostLinkAlias, hostRoutes, openGroup } from "./plan.ts";
import { openPolicy } from "./policy/pod-policy.ts";
import type { NodeView } from "./rebuild.ts";
import { repair, repairOps } from "./repair.ts";

const attachment = testWired();
const { wire, addresses } = attachment;
const sources = { 4: testIp("172.30.0.11"), 6: testIp("fd00:30::11") };

const around = { sources, group: openGroup };

const link: Link = {
  index: wire.hostIndex,
  name: wire.hostLink,
  kind: "veth",
  mac: wire.hostMac,
  mtu: wire.mtu,
  up: true,
  running: true,
  group: 100,
  alias: hostLinkAlias(attachment),
  peerIndex: wire.podIndex,
};
const neighbours: Neighbour[] = addresses.map((address) => ({
  link: link.index,
  address,
  mac: wire.podMac,
  permanent: true,
}));
const routes = hostRoutes(attachment, sources);
const good: NodeView = { links: [link], routes, neighbours };

const repaired = (view: Partial<NodeView>): unknown[] =>
  repairOps(attachment, { ...good, ...view }, around).map((op) => JSON.parse(JSON.stringify(op)) as unknown);

test("what is as ADD made it is left alone; without its link nothing can be done", () => {
  assert.deepEqual(repaired({}), []);
  assert.deepEqual(repaired({ links: [] }), []);
});

test("a link is brought back in each respect", () => {
  const change = (part: Partial<Link>): unknown => repaired({ links: [{ ...link, ...part }] });
  const set = { op: "link.set", link: link.index };
  assert.deepEqual(change({ group: 7 }), [{ ...set, group: 100 }]);
  assert.deepEqual(change({ mtu: 1280 }), [{ ...set, mtu: 1500 }]);
  assert.deepEqual(change({ alias: "" }), [{ ...set, alias: link.alias }]);
  assert.deepEqual(change({ name: "renamed0" }), [{ ...set, rename: wire.hostLink }]);
});

test("a link with another hardware address gets its own back, and its neighbours, which the kernel forgets by that", () => {
  const mac = present(parseMac("02:00:00:00:00:07"), "mac");
  const ops = repairOps(attachment, { ...good, links: [{ ...link, mac }] }, around);
  assert.deepEqual(ops[0], { op: "link.set", link: link.index, mac: wire.hostMac });
  assert.equal(ops.filter(({ op }) => op === "neighbour.set").length, addresses.length);
});

test("a link that was down gets all of its routes and neighbours again, whatever was still seen of them", () => {
  const ops = repairOps(attachment, { ...good, links: [{ ...link, up: false }] }, around);
  assert.deepEqual(
    ops.map(({ op }) => op),
    ["link.set", "neighbour.set", "neighbour.set", "route.replace", "route.replace"],
  );
});

test("a neighbour that is missing, learned or another's is set; a route that is missing, or has another source, is replaced", () => {
  const [first, second] = neighbours.map((entry) => present(entry, "neighbour"));
  const other = present(parseMac("02:00:00:00:00:99"), "mac");
  const broken: NodeView["neighbours"][] = [
    neighbours.slice(1),
    [{ ...present(first, "first"), permanent: false }, present(second, "second")],
    [{ ...present(first, "first"), mac: other }, present(second, "second")],
  ];
  const set = { op: "neighbour.set", link: link.index, address: addresses[0], mac: wire.podMac };
  for (const seen of broken) assert.deepEqual(repaired({ neighbours: seen }), [set]);
  const [route] = routes;
  const replace = { op: "route.replace", route: JSON.parse(JSON.stringify(route)) as unknown };
  assert.deepEqual(repaired({ routes: routes.slice(1) }), [replace]);
  const elsewhere = routes.map((entry) => ({ ...entry, src: testIp("172.30.0.99") }));
  assert.equal(repaired({ routes: elsewhere }).length, 2);
  assert.deepEqual(repaired({ routes: [{ ...present(route, "route"), table: 77 }, ...routes.slice(1)] }), [replace]);
});

test("a pod whose removal begins while the node is looked at is not repaired", async () => {
  const node = await startFakeNode();
  const { kernel } = node.machine;
  await node.add("c1");
  const { attachment } = present(node.core.pool.all()[0], "attachment");
  const index = present(attachment.wire, "wire").hostIndex;
  const pass = (look: () => void): Promise<void> => {
    const neighbours = (): Promise<Neighbour[]> => {
      look();
      return kernel.node.neighbours();
    };
    const watched = { ...kernel, node: { ...kernel.node, neighbours } };
    const { uplink } = node.machine;
    return repair({
      kernel: watched,
      pool: node.core.pool,
      uplink: () => uplink,
      policy: openPolicy,
      log: silentLog(),
      metrics: createMetrics(),
    });
  };
  const damage = () => kernel.node.apply([{ op: "link.set", link: index, group: 7 }]);
  await damage();
  await pass(() => {});
  assert.equal((await kernel.node.link(index))?.group, 100);
  await damage();
  await pass(() => node.core.pool.leave(attachment));
  assert.equal((await kernel.node.link(index))?.group, 7);
});

test("a pass over what is as it should be changes nothing and counts nothing", async () => {
  const node = await startFakeNode();
  const { kernel, uplink } = node.machine;
  await node.add("c1");
  const seen: unknown[] = [];
  const apply = (ops: readonly unknown[]): ReturnType<typeof kernel.node.apply> => {
    seen.push(ops);
    return Promise.resolve([]);
  };
  await repair({
    kernel: { ...kernel, node: { ...kernel.node, apply } },
    pool: node.core.pool,
    uplink: () => uplink,
    policy: openPolicy,
    log: silentLog(),
    metrics: { repaired: (...counted) => void seen.push(counted) },
  });
  assert.deepEqual(seen, []);
});
