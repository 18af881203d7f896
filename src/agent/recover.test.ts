// A start on what could not be written, or cannot be undone at once: pods go on, and what was half made goes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Core, startCore } from "../../test/model/core.ts";
import { makeFakeMachine } from "../../test/model/fake-machine.ts";
import { testIp } from "../../test/store.contract.ts";
import { present } from "../base/assert.ts";
import { Fault, isFault } from "../base/fault.ts";
import { createMemoryStore } from "../ipam/memory-store.ts";
import type { Store } from "../ipam/store.ts";
import { parseCidr } from "../net/cidr.ts";

const blocks = [present(parseCidr("10.4.1.0/24"), "block")];
const netns = "c1";

function stand() {
  const machine = makeFakeMachine();
  machine.addNetns(netns);
  const { kernel, uplink } = machine;
  return {
    machine,
    start: (store: Store): Promise<Core> =>
      startCore({ kernel, store, blocks, uplink, bootId: "boot 1", coolMs: 60_000, now: () => 1000 }),
  };
}

const env = { CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_NETNS: `/run/netns/${netns}` };

test("a journal that is lost and cannot be written: the start fails, and pods keep what they have", async () => {
  const { machine, start } = stand();
  const first = await start(createMemoryStore());
  assert.equal((await first.call("ADD", env)).code, 0);
  const full: Store = {
    ...createMemoryStore(),
    plan: () => {
      throw new Fault("store-failed", "the disk is full");
    },
  };
  await assert.rejects(start(full), (error) => isFault(error, "store-failed"));
  const links = (await machine.kernel.node.links()).filter(({ name }) => name.startsWith("fl"));
  assert.deepEqual(
    links.map(({ group, up }) => ({ group, up })),
    [{ group: 100, up: true }],
  );
  assert.deepEqual(
    (await machine.kernel.guard.list())?.map(({ address }) => address),
    ["10.4.1.2"],
  );
  const later = await start(createMemoryStore());
  assert.deepEqual(
    later.pool.all().map(({ attachment, state }) => [attachment.addresses, state]),
    [[[testIp("10.4.1.2")], "ready"]],
  );
});

test("what an earlier start has read back is not read back again", async () => {
  const { start } = stand();
  const first = await start(createMemoryStore());
  assert.equal((await first.call("ADD", env)).code, 0);
  const store = createMemoryStore();
  // Ends before it has noted that it is done.
  const cut: Store = {
    ...store,
    setFacts: () => {
      throw new Fault("store-failed", "the disk is full");
    },
  };
  await assert.rejects(start(cut), (error) => isFault(error, "store-failed"));
  const second = await start(store);
  assert.equal(second.pool.find({ network: "fairlead", containerId: "c1", ifname: "eth0" })?.state, "ready");
});

test("half an ADD is taken back though the kernel fails for a moment", async () => {
  const { machine, start } = stand();
  const store = createMemoryStore();
  const cut = await start({ ...store, ready: () => {} });
  assert.equal((await cut.call("ADD", env)).code, 0); // written down as planned, and never more
  machine.kernel.failNext("guard.withdraw", new Fault("kernel-busy", "no memory"));
  const next = await start(store);
  assert.deepEqual(next.pool.all(), []);
  assert.deepEqual(await machine.kernel.guard.list(), []);
});
