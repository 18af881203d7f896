// Own link indexes never meet: not the kernel's, not each other, not those of an earlier run.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createLinkIndexes } from "./link-indexes.ts";

test("pairs follow each other, far above where the kernel counts", () => {
  const next = createLinkIndexes([]);
  const pairs = [next(), next(), next()];
  const all = pairs.flatMap(({ hostIndex, podIndex }) => [hostIndex, podIndex]);
  assert.equal(new Set(all).size, 6);
  assert.ok(Math.min(...all) >= 2 ** 28 && Math.max(...all) < 2 ** 31);
});

test("a new run goes on behind every link there is, and the other end of each", () => {
  const earlier = createLinkIndexes([1, 2, 500]);
  const { hostIndex, podIndex } = earlier();
  const later = createLinkIndexes([1, hostIndex])();
  assert.ok(later.hostIndex > podIndex);
  assert.deepEqual(createLinkIndexes([hostIndex, podIndex])().hostIndex, podIndex + 2);
});
