// Events on pods of which much is denied: when, how often, and with which words.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventNote, EventTarget } from "../../kube/events.ts";
import { createDenialEvents, denialsMin, denialsWithinMs, tellAgainMs } from "./denial-events.ts";
import type { Explained } from "./record.ts";

const [web, db] = ["web", "db"].map((name) => ({ namespace: "shop", name, uid: `uid-of-${name}` }));
const by: Explained = {
  direction: "ingress",
  layer: "NetworkPolicy",
  objects: ["NetworkPolicy shop/closed"],
  rules: [],
  reason: "no rule",
  times: 1,
};

function stand() {
  const noted: { target: EventTarget; note: EventNote }[] = [];
  const now = { ms: 0 };
  const denied = createDenialEvents({
    events: { note: (target, note) => noted.push({ target, note }) },
    nodeName: "node-1",
    clock: () => now.ms,
  });
  const deny = (pod: typeof web, times: number): void => {
    for (let n = 0; n < times; n += 1) denied(pod ?? assert.fail(), by);
  };
  return { noted, now, deny };
}

void test("as many denied packets of one pod as it takes make one event, with the object and how to see more", () => {
  const { noted, deny } = stand();
  deny(web, denialsMin - 1);
  deny(db, denialsMin - 1);
  assert.deepEqual(noted, []);
  deny(web, 1);
  assert.deepEqual(noted, [
    {
      target: { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web", uid: "uid-of-web" },
      note: {
        type: "Warning",
        reason: "TrafficDenied",
        message:
          "20 packets or more a minute are denied by ingress of NetworkPolicy shop/closed; " +
          '"fairlead flows --denied --pod shop/web" on node node-1 shows them',
      },
    },
  ]);
  deny(web, 500);
  assert.equal(noted.length, 1);
  deny(db, 1);
  assert.equal(noted.length, 2, "each pod has its own");
});

void test("packets that are few in a minute make none, however long it goes on", () => {
  const { noted, now, deny } = stand();
  for (let minute = 0; minute < 10; minute += 1) {
    now.ms += denialsWithinMs + 1;
    deny(web, denialsMin - 1);
  }
  assert.deepEqual(noted, []);
});

void test("while it goes on it is told again now and then, in the same words", () => {
  const { noted, now, deny } = stand();
  for (; now.ms < 3 * tellAgainMs; now.ms += 1000) deny(web, 1);
  assert.equal(noted.length, 3);
  assert.equal(new Set(noted.map(({ note }) => note.message)).size, 1);
});

void test("of more pods than are remembered the one unheard of for longest is forgotten", () => {
  const { noted, deny } = stand();
  deny(web, denialsMin - 1);
  for (let n = 0; n < 3000; n += 1) deny({ namespace: "shop", name: `other-${n}`, uid: `uid-${n}` }, 1);
  deny(web, 1);
  assert.deepEqual(noted, []);
});
