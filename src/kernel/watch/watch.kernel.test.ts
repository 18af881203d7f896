// Watching a real node: what other programs do to it, what it learns by itself, and that it costs nobody a thread afterwards.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { cidr, ip } from "../../../test/kernel-stage.ts";
import { type TestNetns, makeNetns } from "../../../test/netns.ts";
import { threadNames } from "../../../test/threads.ts";
import { until } from "../../../test/until.ts";
import { present } from "../../base/assert.ts";
import { silentLog } from "../../base/log.ts";
import type { Kernel, KernelChange } from "../contract.ts";
import { openKernel } from "../kernel.ts";

interface Stage {
  kernel: Kernel;
  node: TestNetns;
  pod: TestNetns;
  /** Index of fl0, whose other end is the pod's eth0. */
  link: number;
  heard: KernelChange[];
  hears: (change: KernelChange) => Promise<void>;
  has: (change: KernelChange) => boolean;
}

async function makeStage(t: TestContext): Promise<Stage> {
  const [node, pod] = [makeNetns(t), makeNetns(t)];
  const kernel = openKernel({ nodeNetns: node.path, log: silentLog() });
  t.after(() => kernel.close());
  node.run("ip", "link", "add", "fl0", "type", "veth", "peer", "name", "eth0", "netns", pod.name);
  for (const [netns, name, address] of [
    [node, "fl0", "10.0.0.1/24"],
    [pod, "eth0", "10.0.0.2/24"],
  ] as const) {
    netns.run("ip", "address", "add", address, "dev", name);
    netns.run("ip", "link", "set", name, "up");
  }
  const { index: link } = present(await kernel.node.link("fl0"), "fl0");
  const heard: KernelChange[] = [];
  kernel.watch((change) => heard.push(change));
  const has = (change: KernelChange): boolean => heard.some((one) => isDeepStrictEqual(one, change));
  const hears = (change: KernelChange) => until(JSON.stringify(change), () => has(change));
  return { kernel, node, pod, link, heard, hears, has };
}

void test("a link that leaves a bridge is no link that goes; one that leaves for another namespace is", async (t) => {
  const { node, pod, link, hears, has } = await makeStage(t);
  node.run("ip", "link", "add", "br0", "type", "bridge");
  node.run("ip", "link", "set", "fl0", "master", "br0");
  node.run("ip", "link", "set", "fl0", "nomaster");
  node.run("ip", "rule", "add", "priority", "50", "lookup", "100");
  await hears({ what: "rule", family: 4, priority: 50, removed: false });
  assert.ok(!has({ what: "link", index: link, removed: true }));
  node.run("ip", "link", "set", "fl0", "netns", pod.name);
  await hears({ what: "link", index: link, removed: true });
});

void test("neighbours that are learned, and lost again, are told", async (t) => {
  const { node, link, hears } = await makeStage(t);
  const address = ip("10.0.0.2");
  node.run("ping", "-n", "-c", "1", "-W", "5", address);
  await hears({ what: "neighbour", link, address, removed: false });
  node.run("ip", "neighbour", "flush", "dev", "fl0");
  await hears({ what: "neighbour", link, address, removed: true });
});

void test("what other programs do to routes of the node is told with who owns them", async (t) => {
  const { node, link, hears } = await makeStage(t);
  const to = cidr("10.9.0.0/16");
  node.run("ip", "route", "add", to, "via", "10.0.0.2", "proto", "static");
  await hears({ what: "route", to, link, protocol: 4, removed: false });
  node.run("ip", "route", "delete", to);
  await hears({ what: "route", to, link, protocol: 4, removed: true });
  node.run("ip", "route", "add", "unreachable", "fd09::/64", "table", "7", "proto", "142");
  await hears({ what: "route", to: cidr("fd09::/64"), table: 7, protocol: 142, removed: false });
});

void test("a table that another program flushes or deletes is told, our own first", async (t) => {
  const { kernel, node, heard } = await makeStage(t);
  const tellers = () => heard.flatMap((change) => (change.what === "nftables" ? [[change.by, change.tables]] : []));
  await kernel.guard.ensure([]);
  await until("our own change was told", () => tellers().length === 1);
  node.run("nft", "add table inet other; add chain inet other mine");
  node.run("nft", "flush", "table", "inet", "fairlead");
  node.run("nft", "delete", "table", "inet", "fairlead");
  await until("both were told", () => tellers().length === 4);
  assert.deepEqual(tellers(), [
    ["fl-nft", undefined],
    ["nft", []],
    ["nft", ["fairlead"]],
    ["nft", ["fairlead"]],
  ]);
});

const monitorThreads = (): number => threadNames().filter((name) => name === "fl-monitor").length;

void test("watching takes two threads, however many watch, and none afterwards", async (t) => {
  const kernel = openKernel({ nodeNetns: makeNetns(t).path, log: silentLog() });
  const descriptors = readdirSync("/proc/self/fd").length;
  const stops = [1, 2, 3].map(() => kernel.watch(() => undefined));
  await until("two threads have begun", () => monitorThreads() === 2);
  for (const stop of stops) stop();
  // The kernel lists a thread a moment longer than it runs.
  await until("they have ended", () => monitorThreads() === 0);
  assert.equal(readdirSync("/proc/self/fd").length, descriptors);
  kernel.watch(() => undefined);
  kernel.close();
  await until("they have ended again", () => monitorThreads() === 0);
});
