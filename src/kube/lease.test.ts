// Elections: never two at once, whatever stalls, and a lease given back where it can be.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { createChance } from "../../test/kube/chance.ts";
import { startPair } from "../../test/kube/client.ts";
import type { TestServer, Whim } from "../../test/kube/server.ts";
import { until } from "../../test/until.ts";
import { silentLog } from "../base/log.ts";
import { pause } from "../base/pause.ts";
import { connect } from "./connect.ts";
import { type Lease, leases } from "./core-objects.ts";
import { createObserver, takenBy } from "./lease-record.ts";
import { type Election, startElection } from "./lease.ts";

const lease = { namespace: "kube-system", name: "fairlead-controller" };
const collection = "/apis/coordination.k8s.io/v1/leases";
/** Scaled down; a Lease says whole seconds. */
const times = { leaseMs: 2000, renewDeadlineMs: 1400, retryMs: 100 };

interface Acting {
  who: string;
  /** On one clock: when it was sure to hold the term. */
  fromMs: number;
  toMs: number;
}

/** A candidate that acts without a pause while its term lasts. */
function stand(
  t: TestContext,
  server: TestServer,
  who: string,
  acts: Acting[],
): { election: Election; stop: AbortController } {
  const kube = connect({ address: { server: server.url }, userAgent: who });
  const stop = new AbortController();
  const election = startElection({
    kube,
    lease,
    identity: who,
    times,
    signal: stop.signal,
    log: silentLog(),
    lead: async (term) => {
      const fromMs = performance.now();
      const acting = { who, fromMs, toMs: fromMs };
      acts.push(acting);
      while (true) {
        const nowMs = performance.now();
        if (term.aborted) break;
        acting.toMs = nowMs;
        await pause(5, term);
      }
    },
  });
  t.after(async () => {
    stop.abort();
    await election.done;
    await kube.close();
  });
  return { election, stop };
}

function assertNeverTwo(acts: readonly Acting[], what: string): void {
  const sorted = [...acts].sort((a, b) => a.fromMs - b.fromMs);
  for (const [index, later] of sorted.entries()) {
    const earlier = sorted[index - 1];
    if (earlier === undefined) continue;
    assert.ok(
      earlier.toMs < later.fromMs,
      `${what}: ${earlier.who} acted for ${earlier.toMs - later.fromMs} ms beside ${later.who}`,
    );
  }
}

const holder = ({ store }: TestServer): string => {
  const found = store.get(collection, lease.namespace, lease.name);
  return found === undefined ? "" : (leases.parse(found).spec.holderIdentity ?? "");
};

test("one of three leads; when it stops, another follows without waiting for the lease to run out", async (t) => {
  const { server } = await startPair(t);
  const acts: Acting[] = [];
  const all = ["a", "b", "c"].map((who) => stand(t, server, who, acts));
  await until("one leads", () => acts.length === 1);
  const first = all.find(({ election }) => election.status().leads);
  assert.match(holder(server), /^[abc]_[0-9a-f-]{36}$/);
  const stoppedMs = performance.now();
  first?.stop.abort();
  await first?.election.done;
  await until("another leads", () => acts.length === 2);
  assert.ok((acts[1]?.fromMs ?? 0) - stoppedMs < times.leaseMs, "it was given back");
  assertNeverTwo(acts, "after a stop");
  assert.equal(first?.election.status().leads, false);
});

test("a leader that the server does not answer stops acting before another begins", async (t) => {
  const { server } = await startPair(t);
  const acts: Acting[] = [];
  stand(t, server, "cut off", acts);
  await until("it leads", () => acts.length === 1);
  const cutMs = performance.now();
  server.whim = ({ headers }) => (headers["user-agent"] === "cut off" ? { stall: "before" } : undefined);
  const other = stand(t, server, "other", acts);
  await until("the other leads", () => other.election.status().leads);
  assertNeverTwo(acts, "cut off");
  assert.ok((acts[0]?.toMs ?? 0) - cutMs <= times.renewDeadlineMs + 50, "it acted for as long as it may, no longer");
});

test("stories of stalls, broken answers and refusals: at no instant do two act", async (t) => {
  const stories = Array.from({ length: 8 }, async (_, seed) => {
    const chance = createChance(seed + 1);
    const { server } = await startPair(t);
    const acts: Acting[] = [];
    const whims: readonly Whim[] = [
      { stall: "before" },
      { stall: "after" },
      { drop: "before" },
      { drop: "after" },
      { answer: 500 },
      { answer: 429 },
    ];
    let cutOff = "";
    server.whim = ({ headers }) => {
      if (headers["user-agent"] === cutOff || chance.is(25)) return chance.pick(whims);
      return undefined;
    };
    const all = ["a", "b", "c"].map((who) => stand(t, server, who, acts));
    for (let round = 0; round < 2; round += 1) {
      const before = acts.length;
      cutOff = all.find(({ election }) => election.status().leads) === undefined ? "" : (acts.at(-1)?.who ?? "");
      await until(`seed ${seed}: somebody leads anew`, () => acts.length > before);
    }
    assertNeverTwo(acts, `seed ${seed}`);
    return acts.length;
  });
  const terms = await Promise.all(stories);
  assert.ok(
    terms.every((count) => count >= 2),
    terms.join(),
  );
});

test("work that ends or fails gives the lease back, and stands again", async (t) => {
  const { server, kube } = await startPair(t);
  const stop = new AbortController();
  let terms = 0;
  const election = startElection({
    kube,
    lease,
    identity: "x",
    times,
    signal: stop.signal,
    log: silentLog(),
    lead: async () => {
      terms += 1;
      if (terms === 1) throw new Error("work failed");
      assert.equal(holder(server).startsWith("x_"), true);
    },
  });
  await until("three terms", () => terms >= 3);
  assert.match(election.status().lastError ?? "", /work failed/);
  stop.abort();
  await election.done;
  assert.equal(holder(server), "");
});

test("a lease is free by how long it has not changed here, whatever time stands in it", () => {
  let nowMs = 0;
  const observer = createObserver("me", 15_000, () => nowMs);
  const held = (renewTime: string, spec: Partial<Lease["spec"]> = {}): Lease => ({
    metadata: { name: "l", uid: "u" },
    spec: { holderIdentity: "other", leaseDurationSeconds: 15, renewTime, ...spec },
  });
  assert.equal(observer.isFree(held("1970-01-01T00:00:00.000000Z")), false, "ages old, but just seen");
  nowMs = 14_999;
  assert.equal(observer.isFree(held("1970-01-01T00:00:00.000000Z")), false);
  assert.equal(observer.isFree(held("1960-01-01T00:00:00.000000Z")), false, "a change, even back");
  nowMs += 14_999;
  assert.equal(observer.isFree(held("1960-01-01T00:00:00.000000Z")), false);
  nowMs += 1;
  assert.equal(observer.isFree(held("1960-01-01T00:00:00.000000Z")), true);
  assert.equal(observer.isFree(held("x", { leaseDurationSeconds: 60 })), false);
  nowMs += 59_000;
  assert.equal(observer.isFree(held("x", { leaseDurationSeconds: 60 })), false, "its holder was promised a minute");
  assert.equal(observer.isFree(held("x", { holderIdentity: "" })), true, "given back");
  assert.equal(observer.isFree(held("y", { holderIdentity: "me" })), true, "ours");
});

test("a lease that vanishes under its holder leaves that holder its time", () => {
  let nowMs = 0;
  const observer = createObserver("me", 15_000, () => nowMs);
  const held = { metadata: { name: "l", uid: "u" }, spec: { holderIdentity: "other", leaseDurationSeconds: 15 } };
  assert.equal(observer.isFree(held), false);
  nowMs = 10_000;
  assert.equal(observer.isFree(undefined), false);
  nowMs = 24_999;
  assert.equal(observer.isFree(undefined), false);
  nowMs = 25_000;
  assert.equal(observer.isFree(undefined), true);
  assert.equal(createObserver("me", 15_000, () => 0).isFree(undefined), true, "there never was one");
});

test("taking a lease counts a transition and writes microseconds", () => {
  const held: Lease = {
    metadata: { name: "l" },
    spec: { holderIdentity: "other", acquireTime: "old", leaseTransitions: 4 },
  };
  const taken = takenBy("me", 15_000, held);
  assert.match(taken.renewTime ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.deepEqual([taken.holderIdentity, taken.leaseDurationSeconds, taken.leaseTransitions], ["me", 15, 5]);
  assert.notEqual(taken.acquireTime, "old");
  const again = takenBy("me", 15_000, { ...held, spec: { ...held.spec, holderIdentity: "me" } });
  assert.deepEqual([again.acquireTime, again.leaseTransitions], ["old", 4]);
});
