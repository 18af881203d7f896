// A leader's term: over at its deadline for everybody who asks, also before timers run.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../test/until.ts";
import { startTerm } from "./term.ts";
import { linkSignals } from "./time-limit.ts";

/** Keeps the event loop from turning until that time. */
function stall(untilMs: number): void {
  while (performance.now() < untilMs);
}

test("a term aborts by itself at its deadline, and not before the deadline that it was given later", async () => {
  const startedMs = performance.now();
  const term = startTerm(startedMs + 500);
  assert.ok(term.extend(startedMs + 700));
  let abortedMs = 0;
  term.signal.addEventListener("abort", () => (abortedMs = performance.now()));
  await until("it is over", () => abortedMs > 0);
  assert.ok(abortedMs >= startedMs + 700, `over after ${abortedMs - startedMs} ms`);
  assert.match(String(term.signal.reason), /could not be renewed in time/);
});

test("who wakes from a stall finds the term over at once, and no late renewal brings it back", async () => {
  const startedMs = performance.now();
  const term = startTerm(startedMs + 30);
  let told = 0;
  term.signal.addEventListener("abort", () => (told += 1));
  const late = startTerm(startedMs + 30);
  await Promise.resolve();
  stall(startedMs + 40);
  // Nothing has run in between: no timer, no turn of the event loop.
  assert.equal(term.signal.aborted, true);
  assert.match(String(term.signal.reason), /could not be renewed/);
  assert.equal(told, 1);
  assert.equal(late.extend(startedMs + 60_000), false);
  assert.equal(late.signal.aborted, true);
});

test("who throws by a term's signal, or calls with it, finds it over as well", () => {
  const startedMs = performance.now();
  const [thrown, linked] = [startTerm(startedMs + 30), startTerm(startedMs + 30)];
  stall(startedMs + 40);
  assert.throws(() => thrown.signal.throwIfAborted(), /could not be renewed/);
  assert.equal(linkSignals([linked.signal]).controller.signal.aborted, true);
});

test("a term that is ended stays so, with the first reason", () => {
  const term = startTerm(performance.now() + 60_000);
  assert.equal(term.signal.aborted, false);
  assert.doesNotThrow(() => term.signal.throwIfAborted());
  term.end("first");
  term.end("second");
  assert.equal(term.signal.aborted, true);
  assert.match(String(term.signal.reason), /first/);
  assert.equal(term.extend(performance.now() + 60_000), false);
});
