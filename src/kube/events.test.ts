// Events: repeats become a count, floods a few writes, and a server that is gone costs nobody anything.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Pair, startPair } from "../../test/kube/client.ts";
import { silentLog } from "../base/log.ts";
import { type KubeEvent, events as kind } from "./core-objects.ts";
import { type EventLimits, type EventNote, type Events, startEvents } from "./events.ts";

const collection = "/api/v1/events";
const pod = { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "p1", uid: "u1" };
const node = { apiVersion: "v1", kind: "Node", name: "n1", uid: "u2" };
const warning = (message: string): EventNote => ({ type: "Warning", reason: "NoAddress", message });

async function start(
  t: TestContext,
  limits: Partial<EventLimits> = {},
): Promise<Pair & { events: Events; stop: AbortController; all: () => KubeEvent[] }> {
  const pair = await startPair(t, { limits: { callMs: 2000 } });
  const stop = new AbortController();
  t.after(() => stop.abort());
  const events = startEvents({
    kube: pair.kube,
    component: "fairlead-agent",
    instance: "n1",
    log: silentLog(),
    signal: stop.signal,
    limits,
  });
  return { ...pair, events, stop, all: () => pair.server.store.objects(collection).map(kind.parse) };
}

test("an event lies beside its object, or in default, and says who tells of what", async (t) => {
  const { events, all } = await start(t);
  events.note(pod, warning("all addresses are taken"));
  events.note(node, { type: "Normal", reason: "Ready", message: "the network is ready" });
  await events.flush(5000);
  const [first, second] = all();
  assert.match(first?.metadata.name ?? "", /^p1\.[0-9a-f]{16}$/);
  assert.deepEqual(
    [first?.metadata.namespace, first?.involvedObject, first?.type, first?.reason, first?.message, first?.count],
    ["shop", pod, "Warning", "NoAddress", "all addresses are taken", 1],
  );
  assert.match(first?.firstTimestamp ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.deepEqual(
    [second?.metadata.namespace, second?.involvedObject, second?.source?.component],
    ["default", node, "fairlead-agent"],
  );
});

test("repeats are counted on one object, what differs is another", async (t) => {
  const { events, all, server } = await start(t);
  events.note(pod, warning("a"));
  await events.flush(5000);
  for (let time = 0; time < 5; time += 1) events.note(pod, warning("a"));
  await events.flush(5000);
  events.note(pod, warning("b"));
  await events.flush(5000);
  assert.deepEqual(
    all().map(({ message, count }) => [message, count]),
    [
      ["a", 6],
      ["b", 1],
    ],
  );
  assert.ok(server.seen.length <= 4, "repeats that come together are one write");
});

test("an event that the server dropped is written anew; one that is old begins anew", async (t) => {
  const { events, all, server } = await start(t, { countedMs: 60_000 });
  events.note(pod, warning("a"));
  await events.flush(5000);
  for (const { metadata } of all()) server.store.remove(collection, metadata.namespace, metadata.name);
  events.note(pod, warning("a"));
  await events.flush(5000);
  assert.deepEqual(
    all().map(({ count }) => count),
    [2],
  );
  const old = await start(t, { countedMs: 0 });
  for (let time = 0; time < 2; time += 1) {
    old.events.note(pod, warning("a"));
    await old.events.flush(5000);
  }
  assert.deepEqual(
    old.all().map(({ count }) => count),
    [1, 1],
  );
});

test("a flood about one object is held back, and others are told of all the same", async (t) => {
  const { events, server, all } = await start(t, { burstMax: 3, refillMs: 3_600_000 });
  for (let time = 0; time < 50; time += 1) {
    events.note(pod, warning(`message ${time}`));
    await events.flush(5000);
  }
  assert.equal(server.seen.length, 3);
  events.note(node, warning("another"));
  await events.flush(5000);
  assert.equal(all().length, 4);
  assert.equal(events.status().dropped, 47);
});

test("what is remembered and what waits is bounded", async (t) => {
  const { events, server, stop } = await start(t, { waitingMax: 4, rememberedMax: 2, burstMax: 1000 });
  server.whim = () => ({ stall: "before" });
  for (let time = 0; time < 100; time += 1) events.note({ ...pod, name: `p${time}` }, warning("x"));
  const { waiting, dropped } = events.status();
  assert.ok(waiting <= 5 && dropped >= 95, JSON.stringify({ waiting, dropped }));
  stop.abort();
  await events.flush(5000);
  events.note(pod, warning("after the end"));
  assert.equal(events.status().waiting, 0);
});

test("a server that refuses or is gone throws nothing and holds nothing up", async (t) => {
  const { events, server, all } = await start(t);
  server.whim = () => ({ answer: 403 });
  events.note(pod, warning("a"));
  await events.flush(5000);
  await server.stop();
  events.note(pod, warning("b"));
  await events.flush(5000);
  assert.deepEqual([all().length, events.status().dropped, events.status().waiting], [0, 2, 0]);
});

test("what is too long, or holds what a terminal obeys, is cut and escaped", async (t) => {
  const { events, all } = await start(t);
  events.note(
    { ...pod, name: "n".repeat(253) },
    { type: "Normal", reason: "R".repeat(500), message: `\u001b[31m${"m".repeat(5000)}` },
  );
  await events.flush(5000);
  const [event] = all();
  assert.ok((event?.message ?? "").startsWith("\\u{1b}[31mm") && (event?.message ?? "").length <= 1024);
  assert.equal(event?.reason?.length, 128);
  assert.equal(event?.metadata.name.length, 253);
});
