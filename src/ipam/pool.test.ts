// Book and store change together: what the pool says is what a new process reads.

import assert from "node:assert/strict";
import { test } from "node:test";
import { testAttachment, testIp } from "../../test/store.contract.ts";
import { present } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import { parseCidr } from "../net/cidr.ts";
import { createMemoryStore } from "./memory-store.ts";
import { attachmentsMax, openPool, type Pool } from "./pool.ts";
import type { Store } from "./store.ts";

const blocks = ["10.4.1.0/29", "fd00:4:1::/64"].map((text) => present(parseCidr(text), text));

function openTestPool({ store = createMemoryStore(), nowMs = 1000 }: { store?: Store; nowMs?: number } = {}): {
  pool: Pool;
  store: Store;
  /** Since boot. */
  clock: { nowMs: number };
} {
  const clock = { nowMs };
  const pool = openPool({ blocks, store, coolMs: 60_000, now: () => 2 * clock.nowMs, uptime: () => clock.nowMs });
  // Most tests want both steps.
  const reserve: Pool["reserve"] = (draft) => {
    const attachment = pool.reserve(draft);
    pool.journal(attachment);
    return attachment;
  };
  return { pool: { ...pool, reserve }, store, clock };
}

const draft = (containerId: string): ReturnType<typeof testAttachment> => testAttachment({ containerId });

test("an attachment gets one address of each family", () => {
  const { pool } = openTestPool();
  assert.deepEqual(pool.reserve(draft("a")).addresses, ["10.4.1.2", "fd00:4:1::2"]);
  assert.deepEqual(pool.reserve(draft("b")).addresses, ["10.4.1.3", "fd00:4:1::3"]);
});

test("a released address cools, is free only when freed, and the next process knows", () => {
  const { pool, store, clock } = openTestPool();
  for (const id of ["a", "b", "c", "d", "e"]) pool.reserve(draft(id));
  pool.release(draft("a"), { cool: true });
  assert.throws(() => pool.reserve(draft("g")), /4 in use, 1 cooling, next free in 60 s/);
  clock.nowMs += 60_000;
  assert.throws(() => pool.reserve(draft("g")), /no free/, "cooled is not yet free");
  assert.throws(() => openTestPool({ store, nowMs: clock.nowMs }).pool.reserve(draft("g")), /no free/);
  pool.free(pool.cooled());
  assert.equal(pool.reserve(draft("g")).addresses[0], "10.4.1.2");
});

test("facts are written once", () => {
  const { pool, store } = openTestPool();
  pool.setFacts({ node: "one", bootId: "a" });
  store.setFacts = () => {
    throw new Fault("store-failed", "disk full");
  };
  pool.setFacts({ bootId: "a" });
  assert.throws(() => pool.setFacts({ node: "one", bootId: "b" }), /disk full/);
  assert.deepEqual(pool.facts(), { node: "one", bootId: "a" });
});

test("an attachment that never served gives its addresses back at once", () => {
  const { pool } = openTestPool();
  const ids = ["a", "b", "c", "d", "e"];
  for (const id of ids) pool.reserve(draft(id));
  pool.release(draft("e"), { cool: false });
  assert.equal(pool.reserve(draft("g")).addresses[0], "10.4.1.6");
});

test("a store that fails leaves the pool as it was", () => {
  const { pool, store } = openTestPool();
  const plan = store.plan;
  store.plan = () => {
    throw new Fault("store-failed", "disk full");
  };
  assert.throws(() => pool.reserve(draft("a")), /disk full/);
  store.plan = plan;
  pool.release(draft("a"), { cool: false }); // what ADD does then
  assert.deepEqual(pool.all(), []);
  assert.equal(pool.reserve(draft("b")).addresses[0], "10.4.1.3");
  store.release = () => {
    throw new Fault("store-failed", "disk full");
  };
  assert.throws(() => pool.release(draft("b"), { cool: true }), /disk full/);
  assert.notEqual(pool.find(draft("b")), undefined, "what could not be forgotten is still held");
});

test("the wall clock has no say in cooling, however it jumps", () => {
  const [wall, boot] = [{ nowMs: 1e12 }, { nowMs: 1000 }];
  const pool = openPool({
    blocks,
    store: createMemoryStore(),
    coolMs: 60_000,
    now: () => wall.nowMs,
    uptime: () => boot.nowMs,
  });
  pool.reserve(draft("a"));
  pool.release(draft("a"), { cool: true });
  for (const years of [-30, 30]) {
    wall.nowMs += years * 31_536_000_000;
    assert.deepEqual([pool.cooled(), pool.nextCooledInMs()], [[], 60_000]);
  }
  boot.nowMs += 60_000;
  assert.deepEqual(pool.cooled(), ["10.4.1.2", "fd00:4:1::2"]);
});

test("a machine booted again keeps no address cold for longer than a cooling", () => {
  const { pool, store } = openTestPool({ nowMs: 1_000_000_000 });
  pool.reserve(draft("a"));
  pool.release(draft("a"), { cool: true });
  const { pool: later, clock } = openTestPool({ store, nowMs: 5000 });
  clock.nowMs = 5000 + 60_000;
  assert.deepEqual(later.cooled(), ["10.4.1.2", "fd00:4:1::2"]);
});

test("who waits for an address is woken by a free, by time, and by abort", async () => {
  const { pool } = openTestPool();
  pool.reserve(draft("a"));
  const never = new AbortController();
  const woken = pool.whenFreed(60_000, never.signal);
  pool.release(draft("a"), { cool: false });
  await woken;
  await pool.whenFreed(1, never.signal);
  const aborted = pool.whenFreed(60_000, never.signal);
  never.abort();
  await aborted;
});

test("a restarted pool goes on after the address given last", () => {
  const { pool, store } = openTestPool();
  pool.reserve(draft("a"));
  pool.reserve(draft("b"));
  pool.confirm(draft("b"));
  const { pool: next } = openTestPool({ store });
  assert.deepEqual(
    next.all().map(({ attachment, state }) => [attachment.containerId, state]),
    [
      ["a", "planned"],
      ["b", "ready"],
    ],
  );
  assert.equal(next.reserve(draft("c")).addresses[0], "10.4.1.4");
});

test("the search goes on after the youngest attachment, whatever the names", () => {
  const { pool, store, clock } = openTestPool();
  for (const id of ["z", "y", "a"]) {
    pool.reserve(draft(id));
    clock.nowMs += 1;
  }
  pool.release(draft("y"), { cool: false });
  const { pool: next } = openTestPool({ store });
  assert.equal(next.reserve(draft("c")).addresses[0], "10.4.1.5");
});

test("a store that gives one address twice is refused; one that lets a leased address cool is not", () => {
  const store = createMemoryStore();
  const first = testAttachment({ containerId: "a", addresses: [testIp("10.4.1.2")] });
  store.plan(first);
  store.release({ ...first, containerId: "gone" }, [{ address: testIp("10.4.1.2"), untilMs: 99_000 }]);
  const { pool } = openTestPool({ store });
  assert.deepEqual(
    pool.usage().map(({ live, cooling }) => [live, cooling]),
    [
      [1, 0],
      [0, 0],
    ],
  );
  store.plan({ ...first, containerId: "b" });
  assert.throws(() => openTestPool({ store }), /address 10\.4\.1\.2 is leased already/);
});

test("an attachment whose removal has begun is known until it is released", () => {
  const { pool } = openTestPool();
  pool.reserve(draft("a"));
  pool.leave(draft("a"));
  pool.leave(draft("never"));
  assert.equal(pool.find(draft("a"))?.leaving, true);
  assert.throws(() => pool.reserve(draft("a")), /already journalled/);
  pool.release(draft("a"), { cool: false });
  assert.equal(pool.find(draft("a")), undefined);
});

test("an address outside the blocks, read back from its link, does not cool: somebody else gives it", () => {
  const { pool, store } = openTestPool();
  pool.restore({ ...draft("a"), addresses: [testIp("192.0.2.7"), testIp("10.4.1.2")] });
  pool.release(draft("a"), { cool: true });
  assert.deepEqual(
    store.read().cooling.map(({ address }) => address),
    ["10.4.1.2"],
  );
  assert.deepEqual(
    pool.usage().map(({ live, cooling }) => [live, cooling]),
    [
      [0, 1],
      [0, 0],
    ],
  );
});

test("a node holds so many attachments and not one more", () => {
  const wide = [present(parseCidr("10.4.0.0/20"), "block")];
  const pool = openPool({ blocks: wide, store: createMemoryStore() });
  for (let index = 0; index < attachmentsMax; index += 1) pool.reserve(draft(`c${index}`));
  assert.throws(() => pool.reserve(draft("more")), /holds 1024 attachments, the most it may/);
  assert.throws(() => pool.adopt({ ...draft("more"), delegate }, []), /the most it may/);
  pool.release(draft("c7"), { cool: false });
  pool.reserve(draft("more"));
});

const delegate = { type: "other", path: "/opt/cni/bin", env: {}, stdin: "{}" };

test("addresses that another plugin has chosen are not the pool's: not counted, not cooled, but cleaned up after", () => {
  const { pool } = openTestPool();
  const adopted = pool.adopt({ ...draft("a"), delegate }, [testIp("10.4.1.2")]);
  assert.deepEqual(
    pool.usage().map(({ live }) => live),
    [0, 0],
  );
  assert.equal(
    pool.reserve(draft("b")).addresses[0],
    "10.4.1.2",
    "that it is in a block of ours is the plugin's affair",
  );
  pool.release(adopted, { cool: true });
  assert.deepEqual(
    pool.usage().map(({ live, cooling }) => [live, cooling]),
    [
      [1, 0],
      [1, 0],
    ],
  );
  assert.deepEqual(pool.dead(), ["10.4.1.2"]);
});
