// Waiting for a node that is fit: what wakes the wait and what does not, and what the cluster hears meanwhile.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Fault, isFault } from "../../base/fault.ts";
import { silentLog } from "../../base/log.ts";
import { createMemoryStore } from "../../ipam/memory-store.ts";
import { openPool } from "../../ipam/pool.ts";
import type { KernelChange } from "../../kernel/contract.ts";
import { hostCidr } from "../../net/cidr.ts";
import { testIp } from "../../../test/store.contract.ts";
import type { ClusterChange } from "./cluster.ts";
import { awaitFit, tellingCluster } from "./fit.ts";
import type { NodeFault } from "./peers.ts";

const lacks = new Fault("machine-unfit", "no address");
const told: NodeFault = { code: "machine-unfit", message: "no address" };
const block = hostCidr(testIp("10.4.1.1"));

const addressChange: KernelChange = { what: "address", link: 2, address: testIp("fd00::1"), removed: false };
const neighbourChange: KernelChange = { what: "neighbour", link: 2, address: testIp("fd00::1"), removed: false };

const turn = (): Promise<void> => new Promise((done) => setImmediate(done));

/** A wait on an unfit node that has looked once and come to rest; no time passes but by `tick`. */
async function resting(t: TestContext) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const pool = openPool({ blocks: [], store: createMemoryStore() });
  pool.setFacts({ nodeUid: "u1" });
  const state = { found: lacks as Fault | undefined, uid: "u1", looks: 0, watchers: 0 };
  const tells: (NodeFault | undefined)[] = [];
  const waits: string[] = [];
  const stop = new AbortController();
  let onCluster: (change: ClusterChange) => void = () => {};
  let onKernel: (change: KernelChange) => void = () => {};
  const ended = awaitFit(
    {
      listen: (onChange) => void (onCluster = onChange),
      tell: (fault) => void tells.push(fault),
      nodeUid: () => state.uid,
      blocks: () => [block],
    },
    {
      kernel: {
        watch: (onChange) => {
          state.watchers += 1;
          onKernel = onChange;
          return () => void (state.watchers -= 1);
        },
      },
      pool,
      log: silentLog(),
      look: async () => {
        state.looks += 1;
        await turn();
        if (state.found !== undefined) throw state.found;
      },
      onWait: (why) => void waits.push(why),
    },
    stop.signal,
  );
  ended.catch(() => {}); // each test awaits it in its time
  const tick = async (ms: number): Promise<void> => {
    t.mock.timers.tick(ms);
    for (let turns = 0; turns < 5; turns += 1) await turn();
  };
  await tick(0);
  await tick(100);
  assert.equal(state.looks, 1);
  return { state, tells, waits, pool, stop, ended, tick, cluster: () => onCluster("self"), kernel: onKernel };
}

void test("a change of the node's addresses has it look again at once, a neighbour's does not; then the wait is over", async (t) => {
  const { state, tells, waits, ended, tick, kernel } = await resting(t);
  assert.deepEqual([tells, waits], [[told], ["no address"]]);
  kernel(neighbourChange);
  await tick(0);
  assert.equal(state.looks, 1);
  state.found = undefined;
  kernel(addressChange);
  await tick(0);
  assert.equal(await ended, true);
  assert.deepEqual(tells, [told, undefined]);
  assert.equal(state.watchers, 0);
});

void test("a change of the cluster has it take its blocks, and look again", async (t) => {
  const { state, pool, tick, cluster } = await resting(t);
  cluster();
  await tick(0);
  assert.deepEqual(pool.blocks(), [block]);
  assert.equal(state.looks, 2);
});

void test("changes while it looks are not lost, and many are one look", async (t) => {
  const { state, tick, kernel } = await resting(t);
  kernel(addressChange);
  for (let count = 0; count < 10; count += 1) kernel(addressChange);
  await tick(0);
  assert.equal(state.looks, 2);
  kernel(addressChange); // between two looks
  await tick(99);
  assert.equal(state.looks, 2);
  await tick(1);
  assert.equal(state.looks, 3);
});

void test("without any word it looks after half a minute", async (t) => {
  const { state, tick } = await resting(t);
  await tick(29_999);
  assert.equal(state.looks, 1);
  await tick(1);
  assert.equal(state.looks, 2);
});

void test("it ends where its Node is another one, with its signal, and with whatever else fails", async (t) => {
  const replaced = await resting(t);
  replaced.state.uid = "u2";
  replaced.cluster();
  await replaced.tick(0);
  await assert.rejects(replaced.ended, (error) => isFault(error, "node-replaced"));
  assert.equal(replaced.state.watchers, 0);
  t.mock.timers.reset();

  const stopped = await resting(t);
  stopped.stop.abort();
  assert.equal(await stopped.ended, false);
  assert.equal(stopped.state.watchers, 0);
  t.mock.timers.reset();

  const failing = await resting(t);
  failing.state.found = new Fault("kernel-busy", "full");
  failing.kernel(addressChange);
  await failing.tick(0);
  await assert.rejects(failing.ended, (error) => isFault(error, "kernel-busy"));
  assert.deepEqual(failing.tells, [told]);
});

void test("a look that tells the cluster fails as before, and tells nothing of what is no fault of the node", async () => {
  const tells: (NodeFault | undefined)[] = [];
  const telling = (look: () => Promise<void>) => tellingCluster({ tell: (fault) => void tells.push(fault) }, look)();
  await assert.rejects(
    telling(() => Promise.reject(lacks)),
    (error) => error === lacks,
  );
  await assert.rejects(telling(() => Promise.reject(new Error("x"))));
  await telling(() => Promise.resolve());
  assert.deepEqual(tells, [told, undefined]);
});
