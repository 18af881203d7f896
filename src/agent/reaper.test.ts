// The reaper: connections of removed pods forgotten at the right times, links in bounded batches, nothing of a stranger's touched.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type FakeNode, fakeCoolMs, startFakeNode } from "../../test/model/fake-node.ts";
import { testIp } from "../../test/store.contract.ts";
import { silentLog } from "../base/log.ts";
import { createMetrics } from "../base/metrics.ts";
import type { Kernel, Netns, Op } from "../kernel/contract.ts";
import { localMac } from "../net/mac.ts";
import { reap, reapBatchMax } from "./reaper.ts";

/** One pass, over the kernel as `wrap` gives it. */
function pass({ machine, core }: FakeNode, wrap: (kernel: Kernel) => Kernel = (kernel) => kernel): Promise<void> {
  return reap({ kernel: wrap(machine.kernel), pool: core.pool, log: silentLog(), metrics: createMetrics() });
}

/** A pair of somebody else's. */
function addStranger({ machine }: FakeNode, name: string, group: number): Promise<unknown> {
  const mac = localMac(Buffer.from("a stranger's"));
  const { node } = machine.kernel;
  const peer = { netns: node, name: `${name}x`, mac, mtu: 1500 };
  return node.apply([{ op: "link.addVeth", name, mac, mtu: 1500, group, peer }]);
}

/** The node's namespace, and each list of operations that it was given. */
function listening({ node }: Kernel): { node: Netns; lists: Op[][] } {
  const lists: Op[][] = [];
  const apply: Netns["apply"] = (ops) => {
    lists.push([...ops]);
    return node.apply(ops);
  };
  return { node: { ...node, apply }, lists };
}

test("connections are forgotten with the links, and again before an address is free", async () => {
  const node = await startFakeNode();
  const { kernel } = node.machine;
  const [own, other] = [testIp("10.4.1.2"), testIp("192.0.2.1")];
  const talk = (): void =>
    kernel.track({
      protocol: 17,
      original: { source: other, destination: own, sourcePort: 53, destinationPort: 53 },
      reply: { source: own, destination: other, sourcePort: 53, destinationPort: 53 },
      replied: false,
      assured: false,
    });
  const tracked = async (): Promise<number> => (await kernel.conntrack.list([own])).length;
  await node.add("c1");
  talk();
  await node.remove("c1");
  await pass(node);
  assert.equal(await tracked(), 0, "with the link");
  talk(); // somebody who has not heard that the pod is gone
  await pass(node);
  assert.equal(await tracked(), 1, "an address that rests is looked at when it has rested");
  node.clock.nowMs += fakeCoolMs;
  await pass(node);
  assert.equal(await tracked(), 0, "before the next pod can have it");
  assert.deepEqual(
    node.core.pool.usage().map(({ cooling }) => cooling),
    [0],
  );
});

test("an address stays cold while its connections cannot be forgotten", async () => {
  const node = await startFakeNode();
  await node.add("c1");
  await node.remove("c1");
  await pass(node);
  node.clock.nowMs += fakeCoolMs;
  const failing = (kernel: Kernel): Kernel => ({
    ...kernel,
    conntrack: { ...kernel.conntrack, forget: () => Promise.reject(new Error("not now")) },
  });
  await assert.rejects(pass(node, failing), /not now/);
  assert.deepEqual(node.core.pool.cooled(), [testIp("10.4.1.2")]);
  await pass(node);
  assert.deepEqual(node.core.pool.cooled(), []);
});

test("links go in batches of a bounded size, each by one removal of a group", async () => {
  const node = await startFakeNode();
  const ids = Array.from({ length: reapBatchMax + 8 }, (_, index) => `c${index}`);
  for (const id of ids) await node.add(id);
  for (const id of ids) await node.remove(id);
  const { node: netns, lists } = listening(node.machine.kernel);
  await pass(node, (kernel) => ({ ...kernel, node: netns }));
  const moved = lists.filter(([op]) => op?.op === "link.set").map(({ length }) => length);
  assert.deepEqual(moved, [reapBatchMax, 8]);
  assert.equal(lists.filter(([op]) => op?.op === "link.removeGroup").length, 2);
  assert.deepEqual(await node.links(), []);
});

test("a stranger in a group of ours stays, and ours are removed one by one beside it", async () => {
  for (const group of [98, 99]) {
    const node = await startFakeNode();
    await addStranger(node, "other", group);
    for (const id of ["c1", "c2"]) await node.add(id);
    for (const id of ["c1", "c2"]) await node.remove(id);
    await pass(node);
    assert.deepEqual((await node.links()).toSorted(), ["other", "otherx"], `group ${group}`);
  }
});
