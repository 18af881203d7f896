// Which connections are cut: those that the newest policy denies, looked for when it has become narrower, and once more.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connection } from "../../../test/conntrack-entries.ts";
import { testIp } from "../../../test/store.contract.ts";
import { silentLog } from "../../base/log.ts";
import { createFakeConntrack } from "../../kernel/fake-conntrack.ts";
import { hostCidr } from "../../net/cidr.ts";
import type { Layer, Model } from "../../policy/model.ts";
import { firstPacket, prepareCutting } from "./cut.ts";

const [web, db, other] = [testIp("10.4.1.2"), testIp("10.4.1.3"), testIp("10.4.2.2")];
const tcp = 6;

/** The pod db lets in these peers, and nobody else. */
function lettingIn(...peers: (typeof web)[]): Model {
  const rules = peers.map((peer) => ({
    from: `rule for ${peer}`,
    ports: [],
    peers: [{ block: hostCidr(peer), except: [] }],
  }));
  const layer: Layer = {
    kind: "groups",
    direction: "ingress",
    id: peers.join(),
    objects: ["db"],
    otherwise: "deny",
    rules,
  };
  const pod = { namespace: "shop", name: "db", uid: "u", node: "a", addresses: [db] };
  return {
    subjects: [{ pod, egress: [], ingress: [layer] }],
    nodes: new Map(),
    memberships: new Map(),
    groupsJudgeOwnNode: false,
  };
}

const flow = (source: typeof web, port: number): ReturnType<typeof connection> =>
  connection(tcp, { source, destination: db, sourcePort: port, destinationPort: 5432 });

function stand(): {
  cutting: ReturnType<typeof prepareCutting>;
  open: () => Promise<string[]>;
  woken: () => number;
  /** Lets so much time pass. */
  pass: (ms: number) => void;
  track: ReturnType<typeof createFakeConntrack>["track"];
} {
  const { conntrack, track } = createFakeConntrack(() => () => {});
  let [woken, nowMs] = [0, 0];
  const cutting = prepareCutting({ conntrack, log: silentLog(), clock: () => nowMs }, () => (woken += 1));
  return {
    cutting,
    track,
    pass: (ms) => (nowMs += ms),
    woken: () => woken,
    open: async () => (await conntrack.list([db])).map(({ original }) => original.source).toSorted(),
  };
}

void test("connections that policy denies are cut, others are not; a change that narrows nothing walks nowhere", async () => {
  const { cutting, open, track, woken } = stand();
  track(flow(web, 40_000));
  track(flow(other, 40_001));
  cutting.judgeBy(lettingIn(web), false);
  await cutting.sync();
  assert.deepEqual(await open(), [web, other]);
  assert.equal(woken(), 0);
  cutting.judgeBy(lettingIn(web), true);
  await cutting.sync();
  assert.deepEqual(await open(), [web]);
});

void test("a second later comes a second walk, for what was on its way; then none", async () => {
  const { cutting, open, track, pass } = stand();
  cutting.judgeBy(lettingIn(web), true);
  await cutting.sync();
  track(flow(other, 40_001));
  assert.equal(cutting.dueMs(), 1_001);
  pass(999);
  await cutting.sync();
  assert.deepEqual(await open(), [other], "not yet");
  pass(1);
  assert.equal(cutting.dueMs(), 1);
  await cutting.sync();
  assert.deepEqual(await open(), []);
  track(flow(other, 40_002));
  pass(1_000);
  await cutting.sync();
  assert.deepEqual(await open(), [other]);
  assert.equal(cutting.dueMs(), 60_000);
});

void test("an edit between both walks is walked for at once", async () => {
  const { cutting, open, track, pass } = stand();
  cutting.judgeBy(lettingIn(web, other), true);
  await cutting.sync();
  track(flow(other, 40_001));
  pass(100);
  cutting.judgeBy(lettingIn(web), true);
  await cutting.sync();
  assert.deepEqual(await open(), []);
  assert.equal(cutting.dueMs(), 1_001, "and its own second walk comes");
});

void test("the second walk is by what holds then: who was let in meanwhile stays", async () => {
  const { cutting, open, track, pass } = stand();
  cutting.judgeBy(lettingIn(web), true);
  await cutting.sync();
  cutting.judgeBy(lettingIn(web, other), false);
  track(flow(other, 40_001));
  pass(1_000);
  await cutting.sync();
  assert.deepEqual(await open(), [other]);
});

void test("what began on the way to another policy is not cut where that allows it", async () => {
  const { cutting, open, track } = stand();
  track(flow(other, 40_001));
  cutting.judgeBy(lettingIn(web), true);
  cutting.expect(lettingIn(web, other));
  await cutting.sync();
  assert.deepEqual(await open(), [other]);
});

void test("a walk that fails is made again", async () => {
  const { conntrack, track } = createFakeConntrack(() => () => {});
  let walks = 0;
  const failing = { ...conntrack, cut: async () => Promise.reject(new Error(`walk ${(walks += 1)}`)) };
  const cutting = prepareCutting({ conntrack: failing, log: silentLog(), clock: () => 0 }, () => {});
  track(flow(other, 40_001));
  cutting.judgeBy(lettingIn(web), true);
  await assert.rejects(cutting.sync(), /walk 1/);
  await assert.rejects(cutting.sync(), /walk 2/);
});

void test("a connection is judged as its first packet was: to where it really went, from whom it really came", () => {
  const service = testIp("10.96.0.1");
  const translated = connection(
    tcp,
    { source: web, destination: service, sourcePort: 40_000, destinationPort: 80 },
    { reply: { source: db, destination: web, sourcePort: 5432, destinationPort: 40_000 } },
  );
  assert.deepEqual(firstPacket(translated), { source: web, destination: db, protocol: tcp, destinationPort: 5432 });
  const ping = connection(1, { source: web, destination: db, icmp: { id: 7, type: 8, code: 0 } });
  assert.deepEqual(firstPacket(ping), { source: web, destination: db, protocol: 1, icmp: { type: 8, code: 0 } });
});

void test("what is closed to all pods is cut of those that nothing else judges, too", async () => {
  const metadata = testIp("169.254.169.254");
  const openPod = (model: Model): Model => ({
    ...model,
    subjects: model.subjects.map(({ pod }) => ({ pod, egress: [], ingress: [] })),
  });
  for (const [closed, left] of [
    ["open", [db]],
    ["closed", []],
  ] as const) {
    const { cutting, open, track } = stand();
    const ends = { source: db, destination: metadata, sourcePort: 40_000, destinationPort: 80 };
    track(connection(tcp, ends));
    cutting.judgeBy({ ...openPod(lettingIn(web)), metadata: closed }, true);
    await cutting.sync();
    assert.deepEqual(await open(), left, closed);
  }
});
