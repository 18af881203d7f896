// What has lost its pod, or never had one: given up after its time, on a node in memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type FakeNode, startFakeNode } from "../../test/model/fake-node.ts";
import { testWired } from "../../test/store.contract.ts";
import { Fault } from "../base/fault.ts";
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

test("a removal that fails is tried again at the next pass, and holds up no other", async () => {
  const node = await startFakeNode();
  const pass = passOf(node);
  for (const id of ["c1", "c2"]) {
    await node.add(id);
    await node.machine.removeNetns(id);
  }
  await pass();
  node.clock.nowMs += vanishedMs;
  node.machine.kernel.failNext("guard.withdraw", new Fault("kernel-refused", "not now"));
  await assert.rejects(pass(), /not now/);
  assert.deepEqual(
    node.core.pool.all().map(({ attachment, leaving }) => [attachment.containerId, leaving]),
    [["c1", true]],
    "the other has gone in the same pass",
  );
  await pass();
  assert.deepEqual(node.core.pool.all(), []);
});

test("a namespace that cannot be opened for want of something else is not gone", async () => {
  const node = await startFakeNode();
  const pass = passOf(node);
  const { wire: _, ...lent } = testWired({ containerId: "lent", netnsPath: node.machine.pathOf("lent") });
  node.machine.addNetns("lent");
  node.core.pool.restore(lent);
  const { openNetns } = node.machine.kernel;
  node.machine.kernel.openNetns = () => {
    throw new Fault("kernel-refused", "no descriptor is left");
  };
  await pass();
  node.clock.nowMs += 2 * vanishedMs;
  await pass();
  assert.equal(node.core.pool.all().length, 1);
  node.machine.kernel.openNetns = openNetns;
  await node.machine.removeNetns("lent");
  await pass();
  node.clock.nowMs += vanishedMs;
  await pass();
  assert.deepEqual(node.core.pool.all(), []);
});
