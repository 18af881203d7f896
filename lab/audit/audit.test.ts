// When an audit has seen enough: at once where all is well, after a second look where not, and after a while where it may pass.

import assert from "node:assert/strict";
import { test } from "node:test";
import { auditText, settle } from "./audit.ts";
import { type Difference, differs } from "./difference.ts";

const passing: Difference = { what: "may pass", mayPass: true };

/** Looks that find these in turn, the last one again and again. */
function looks(...found: Difference[][]): { look: () => Promise<Difference[]>; count: () => number } {
  let count = 0;
  const look = async (): Promise<Difference[]> => {
    count += 1;
    return found[Math.min(count, found.length) - 1] ?? [];
  };
  return { look, count: () => count };
}

test("nothing wrong: one look", async () => {
  const { look, count } = looks([]);
  assert.deepEqual(await settle(look, {}), []);
  assert.equal(count(), 1);
});

test("what is wrong in two looks is told", async () => {
  const { look, count } = looks([differs("wrong")]);
  assert.deepEqual(await settle(look, {}), ["wrong"]);
  assert.equal(count(), 2);
});

test("what is wrong in one look alone is not", async () => {
  const { look, count } = looks([differs("torn")], [differs("wrong")], [differs("wrong")]);
  assert.deepEqual(await settle(look, {}), ["wrong"]);
  assert.equal(count(), 3);
  assert.deepEqual(await settle(looks([differs("torn")], []).look, {}), []);
});

test("what may pass is waited for, also where it stands beside what may not", async () => {
  const { look, count } = looks([passing], [passing, differs("wrong")], [passing, differs("wrong")], []);
  assert.deepEqual(await settle(look, {}), []);
  assert.equal(count(), 4);
});

test("no longer than the bound, and not after an abort", async () => {
  const startedMs = performance.now();
  assert.deepEqual(await settle(looks([passing]).look, { withinMs: 50 }), ["may pass"]);
  assert.ok(performance.now() - startedMs >= 50);
  const { look, count } = looks([passing]);
  assert.deepEqual(await settle(look, { signal: AbortSignal.abort() }), ["may pass"]);
  assert.equal(count(), 1);
});

test("the text names the node and every difference", () => {
  assert.equal(auditText("node-1", ["a", "b"]), "node-1 does not hold exactly what its attachments need:\n  a\n  b");
});
