// Random stories of a cluster under two replicas that both believe they lead, with caches that lag, deaths and late writes.

import { test } from "node:test";
import fc from "fast-check";
import { play, stories } from "../../test/controller/story.ts";

test("whoever acts in whatever order on whatever knowledge: no block twice, none lost, every node served", async () => {
  await fc.assert(fc.asyncProperty(stories, play), { numRuns: 60, endOnFailure: true });
});
