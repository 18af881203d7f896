// The sweep: what it removes and frees, and every doubt in which it must not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../base/assert.ts";
import { isFault } from "../base/fault.ts";
import { silentLog } from "../base/log.ts";
import { decodeBook, emptyBook, givenBlocks, markBlock, takeBlock } from "../ipam/node-blocks.ts";
import { events, nodes } from "../kube/core-objects.ts";
import { blockLedgers, nodeNetworks } from "../kube/objects.ts";
import { parseCidr } from "../net/cidr.ts";
import { startReplica, withLeader } from "../../test/controller/replica.ts";
import { networkOf, view } from "../../test/controller/objects.ts";
import { checkSettled, settle } from "../../test/controller/settled.ts";
import type { World, WorldConfig } from "../../test/controller/world.ts";
import { clearLeftovers, leftoversOf } from "./free.ts";
import { namingsOf, planGifts } from "./give.ts";
import { ledgerName, readLedgers, writeLedger } from "./ledgers.ts";
import { massSettleMs } from "./sweep.ts";

const range = present(parseCidr("10.64.0.0/16"), "a range");
const config: WorldConfig = { assign: "fairlead", ranges: [{ cidr: range, blockPrefix: 24 }], serviceRanges: [] };

const given = async ({ kube }: World): Promise<number[]> =>
  givenBlocks(decodeBook((await kube.get(blockLedgers, { name: ledgerName(range) })).spec, []));

test("a promise ends when its Node is gone or has other podCIDRs, and stands while the Node may still get it", () => {
  const book = emptyBook(range, 24, []);
  planGifts([book], [view("a"), view("b"), view("c")], [], { give: true });
  const views = [view("b", { podCIDRs: ["10.64.9.0/24"] }), view("c", { leaving: true })];
  const networks = [networkOf("x", ["10.64.0.0/24"])];
  markBlock(book, 9);
  const left = leftoversOf(book, views, namingsOf(views, networks));
  assert.deepEqual([left.broken.map(({ node }) => node), left.unowned], [["a", "b"], [1]]);
  clearLeftovers(book, left);
  assert.deepEqual([book.pending.map(({ node }) => node), givenBlocks(book)], [["c"], [0, 2, 9]]);
});

test("a cache that does not know a Node is no reason to end its promise", () => {
  const book = emptyBook(range, 24, []);
  planGifts([book], [view("a")], [], { give: true });
  planGifts([book], [], [], { give: true });
  assert.equal(book.pending.length, 1);
});

test("what is read and then written by another cannot be written over", () =>
  withLeader(config, async (world) => {
    const deps = { kube: world.kube, config, log: silentLog() };
    const { signal } = new AbortController();
    const read = async () => present((await readLedgers(deps, signal))[0], "a ledger");
    const [first, second] = [await read(), await read()];
    for (const { book } of [first, second]) takeBlock(book);
    await writeLedger(deps, first, signal);
    await assert.rejects(writeLedger(deps, second, signal), (error) => isFault(error, "kube-conflict"));
  }));

test("no block is freed while a NodeNetwork stands that its gone Node's status may still come to", () =>
  withLeader(config, async (world, leader) => {
    leader.freeze(true, "networks"); // it does not hear of the NodeNetwork, and so does not remove it
    await world.addNode("a");
    await leader.catchUp();
    await leader.pass();
    await world.runAgent("a");
    await world.removeNode("a");
    await leader.catchUp();
    await leader.pass();
    assert.deepEqual(await given(world), [0]);
    leader.freeze(false);
    await settle(world, leader);
    await checkSettled(world);
    assert.deepEqual(await given(world), []);
  }));

test("what is given between two reads of the sweep is not freed", () =>
  withLeader(config, async (world, other) => {
    await world.addNode("a");
    await settle(world, other);
    await world.removeNode("a"); // so that there is something to free
    let meddled = false;
    const replica = await startReplica(world, {
      cross: async (what, call) => {
        const answer = await call();
        if (what === "LIST nodes" && !meddled) {
          meddled = true;
          await world.addNode("b");
          await other.catchUp();
          await other.pass();
        }
        return answer;
      },
    });
    try {
      await replica.pass().catch((error: unknown) => assert.ok(isFault(error, "kube-conflict"), String(error)));
      assert.ok(meddled);
      assert.ok((await given(world)).includes(1), "what b was given stands in the ledger");
      await settle(world, other);
      await checkSettled(world);
    } finally {
      await replica.close();
    }
  }));

test("what the agent of a new Node makes its own just before it is removed stays", () =>
  withLeader(config, async (world, other) => {
    await world.addNode("a");
    await world.runAgent("a");
    await settle(world, other);
    await world.removeNode("a");
    let meddled = false;
    const replica = await startReplica(world, {
      cross: async (what, call) => {
        if (what === "DELETE nodenetworks a" && !meddled) {
          meddled = true;
          await world.addNode("a");
          await world.runAgent("a");
        }
        return await call();
      },
    });
    try {
      await replica.pass();
      assert.ok(meddled);
      assert.equal((await world.kube.list(nodeNetworks)).items.length, 1);
    } finally {
      await replica.close();
    }
  }));

test("nothing is removed on the word of a cache alone", () =>
  withLeader(config, async (world, leader) => {
    leader.freeze(true, "nodes"); // it has never heard of the node
    await world.addNode("a", { podCIDRs: ["10.64.0.0/24"] });
    await world.runAgent("a");
    await leader.catchUp();
    await leader.pass();
    assert.equal((await world.kube.list(nodeNetworks)).items.length, 1);
    leader.freeze(false);
    await settle(world, leader);
    await checkSettled(world);
  }));

test("when most of a cluster vanishes at once, its blocks are freed a while later, and an event says so", () =>
  withLeader(config, async (world, leader) => {
    const names = Array.from({ length: 60 }, (_, at) => `n${at}`);
    for (const name of names) {
      await world.addNode(name);
      await world.runAgent(name);
    }
    await settle(world, leader);
    await checkSettled(world);
    for (const name of names.slice(0, 40)) await world.removeNode(name);
    await settle(world, leader);
    assert.equal((await world.kube.list(nodeNetworks)).items.length, 60);
    assert.equal((await given(world)).length, 60);
    const told = (await world.kube.list(events)).items.map(({ reason }) => reason);
    assert.deepEqual(told, ["MassRemovalWaits"]);
    world.nowMs += massSettleMs;
    await settle(world, leader); // the objects go, and their blocks are seen for the first time
    assert.equal((await world.kube.list(nodeNetworks)).items.length, 20);
    world.nowMs += massSettleMs;
    await settle(world, leader);
    await checkSettled(world);
    assert.equal((await given(world)).length, 20);
    assert.equal((await world.kube.list(nodes)).items.length, 20);
  }));

test("blocks that were freed, given again and lost again have to be lost for as long as the first time", () =>
  withLeader(config, async (world, leader) => {
    for (const turn of ["first", "second"]) {
      const names = Array.from({ length: 60 }, (_, at) => `${turn}-${at}`);
      // Somebody else gives them, and no agent comes: nothing is promised, and nothing but blocks is left.
      for (const [at, name] of names.entries()) await world.addNode(name, { podCIDRs: [`10.64.${at}.0/24`] });
      await settle(world, leader);
      for (const name of names) await world.removeNode(name);
      await settle(world, leader);
      assert.equal((await given(world)).length, 60, turn);
      world.nowMs += massSettleMs;
      await settle(world, leader);
      assert.equal((await given(world)).length, 0, turn);
    }
  }));
