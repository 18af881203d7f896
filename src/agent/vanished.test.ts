// What has lost its pod, or never had one: given up after its time, on a node in memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type FakeNode, startFakeNode } from "../../test/model/fake-node.ts";
import { testWired } from "../../test/store.contract.ts";
import { silentLog } from "../base/log.ts";
import { createMetrics } from "../base/metrics.ts";
import { localMac } from "../net/mac.ts";
import { createGate } from "./gate.ts";
import { createVanishedPass, vanishedMs } from "./vanished.ts";

const stray = "fl0123456789abc";

function passOf({ machine, core, clock }: FakeNode, podLives = (): boolean => false): () => Promise<void> {
  return createVanishedPass({
    kernel: machine.kernel,
    pool: core.pool,
    gate: createGate(),
    log: silentLog(),
    metrics: createMetrics(),
    podLives,
    clock: () => clock.nowMs,
    onDoomed: () => {},
  });
}

/** A pair of no pod's, one end of it named as a host link. */
async function addStray({ machine: { kernel } }: FakeNode): Promise<void> {
  const mac = localMac(Buffer.from("nobody's"));
  const peer = { netns: kernel.node, name: "other", mac, mtu: 1500 };
  await kernel.node.apply([{ op: "link.addVeth", name: stray, mac, mtu: 1500, group: 0, peer }]);
}

const groups = async ({ machine: { kernel } }: FakeNode): Promise<(number | undefined)[]> =>
  Promise.all([stray, "other"].map(async (name) => (await kernel.node.link(name))?.group));

/** The stray link has its whole time from now on, and goes when that is over. */
async function assertGoesAfterItsTime(node: FakeNode, pass: () => Promise<void>): Promise<void> {
  node.clock.nowMs += vanishedMs - 1;
  await pass();
  assert.deepEqual(await groups(node), [0, 0]);
  node.clock.nowMs += 1;
  await pass();
  assert.deepEqual(await groups(node), [99, 0]);
}

test("a link of ours without a pod goes after its time, a stranger's stays", async () => {
  const node = await startFakeNode();
  const pass = passOf(node);
  await addStray(node);
  await pass();
  await assertGoesAfterItsTime(node, pass);
});

test("what is back in between has its whole time again", async () => {
  const node = await startFakeNode();
  const pass = passOf(node);
  const rename = (from: string, to: string) =>
    node.machine.kernel.node.apply([{ op: "link.set", link: from, rename: to }]);
  await addStray(node);
  await pass();
  await rename(stray, "elsewhere");
  node.clock.nowMs += vanishedMs - 1;
  await pass();
  await rename("elsewhere", stray);
  await pass();
  await assertGoesAfterItsTime(node, pass);
});

test("a pod that the cluster still has on this node is left to its runtime, until the cluster has it no more", async () => {
  const node = await startFakeNode();
  let lives = true;
  const pass = passOf(node, () => lives);
  node.core.pool.restore(testWired({ pod: { namespace: "shop", name: "web-0", uid: "u1" } }));
  await pass();
  node.clock.nowMs += 2 * vanishedMs;
  await pass();
  assert.equal(node.core.pool.all().length, 1);
  lives = false;
  await pass();
  assert.equal(node.core.pool.all().length, 1, "its time begins when the cluster lets go");
  node.clock.nowMs += vanishedMs;
  await pass();
  assert.equal(node.core.pool.all().length, 0);
});

test("a pod that lost its link is released after its time, one that lives is not", async () => {
  const node = await startFakeNode();
  const pass = passOf(node);
  for (const id of ["c1", "c2"]) await node.add(id);
  await node.machine.removeNetns("c1");
  await pass();
  node.clock.nowMs += vanishedMs;
  assert.equal(node.core.pool.all().length, 2);
  await pass();
  assert.deepEqual(
    node.core.pool.all().map(({ attachment }) => attachment.containerId),
    ["c2"],
  );
});
