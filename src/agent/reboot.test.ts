// After a reboot nothing of the last boot lives on: also what has no link that could be missing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startFakeNode } from "../../test/model/fake-node.ts";

test("a lease without a link of ours is released by a reboot, and rests", async () => {
  const { machine, store, core, call } = await startFakeNode({ bootId: "first" });
  machine.addNetns("c1");
  const lent = await call("ADD", "c1", { type: "bridge", ipam: { type: "fairlead-cni" } });
  assert.equal(lent.code, 0, lent.stdout);
  const addresses = core.pool.all().flatMap(({ attachment }) => attachment.addresses);
  assert.equal(addresses.length, 1);
  const restarted = await startFakeNode({ machine, store, bootId: "first" });
  assert.equal(restarted.core.pool.all().length, 1, "a restart of the agent alone is no reboot");
  const rebooted = await startFakeNode({ store, bootId: "second" });
  assert.deepEqual(rebooted.core.pool.all(), []);
  assert.deepEqual(
    store.read().cooling.map(({ address }) => address),
    addresses,
  );
});
