// How much the reporter tells: the same once in a while, and of one object, or of one kind, never without end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../base/log.ts";
import type { Kube } from "../kube/contract.ts";
import { createReporter, type Subject } from "./events.ts";

const { signal } = new AbortController();

/** A reporter, its clock, and the names of objects that events were written of. */
function stand() {
  const clock = { ms: 0 };
  const told: string[] = [];
  const create: Kube["create"] = async (_kind, object) => {
    told.push(object.metadata.name.replace(/\..*/, ""));
    return object;
  };
  const reporter = createReporter({ kube: { create }, log: silentLog(), instance: "x", now: () => clock.ms });
  return { clock, told, warn: (subject: Subject, message: string) => reporter.warn(subject, "Odd", message, signal) };
}

const binding = (name: string): Subject => ({
  kind: "SecurityGroupBinding",
  apiVersion: "fairlead.dev/v1alpha1",
  name,
  namespace: "shop",
  uid: name,
});

test("more objects than are remembered, looked at again and again, are told of a few at a time", async () => {
  const { clock, told, warn } = stand();
  const written: number[] = [];
  for (let look = 0; look < 4; look += 1) {
    for (let at = 0; at < 5_000; at += 1) await warn(binding(`b${at}`), "no such group");
    written.push(told.splice(0).length);
    clock.ms += 10_000;
  }
  assert.deepEqual(written, [256, 5, 5, 5]);
});

test("an object of which something else is said each time has its share and no more; others have theirs", async () => {
  const { clock, told, warn } = stand();
  for (let at = 0; at < 100; at += 1) await warn(binding("a"), `other ${at}`);
  assert.equal(told.splice(0).length, 10);
  await warn(binding("b"), "no such group");
  clock.ms += 60_000;
  await warn(binding("a"), "once more");
  await warn(binding("a"), "and again");
  await warn(binding("b"), "no such group");
  assert.deepEqual(told, ["b", "a"]);
  clock.ms += 20 * 60_000;
  await warn(binding("b"), "no such group");
  assert.deepEqual(told, ["b", "a", "b"]);
});

test("many events of one kind keep none of another from people", async () => {
  const { told, warn } = stand();
  for (let at = 0; at < 1_000; at += 1) await warn(binding(`b${at}`), "no such group");
  told.length = 0;
  await warn({ kind: "Node", apiVersion: "v1", name: "n1", uid: "n1" }, "no block is free");
  assert.deepEqual(told, ["n1"]);
});
