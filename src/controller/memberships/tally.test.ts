// Members of a membership, counted as pods come and go, against all of them counted anew.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Ip } from "../../net/ip.ts";
import { endpointId, type SliceEndpoint } from "./slices.ts";
import { createTally } from "./tally.ts";

const endpoint = (number: number): SliceEndpoint => ({ addresses: [`10.4.0.${number}` as Ip] });

test("whoever comes and goes, each address is that of the pod that has it, of several the first by name", () => {
  const step = fc.record({
    pod: fc.constantFrom("a/one", "a/two", "b/one", "b/two"),
    numbers: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const tally = createTally();
      const there = new Map<string, readonly SliceEndpoint[]>();
      for (const { pod, numbers } of steps) {
        const before = tally.members();
        const held = there.get(pod);
        if (held === undefined) {
          there.set(pod, numbers.map(endpoint));
          tally.add(pod, there.get(pod) ?? []);
        } else {
          there.delete(pod);
          tally.remove(pod, held);
        }
        assert.notEqual(tally.members(), before, "another one after a change");
        assert.equal(tally.members(), tally.members());
        const wanted = new Map<string, SliceEndpoint>();
        for (const [, endpoints] of [...there].toSorted(([a], [b]) => (a < b ? -1 : 1)))
          for (const one of endpoints) if (!wanted.has(endpointId(one))) wanted.set(endpointId(one), one);
        const members = tally.members();
        assert.deepEqual([...members.keys()].toSorted(), [...wanted.keys()].toSorted());
        assert.equal(members.size, wanted.size);
        // The very same object: those of other pods look like it.
        for (const [id, one] of wanted) assert.equal(members.get(id), one);
        for (const number of [1, 2, 3, 4]) {
          const id = endpointId(endpoint(number));
          assert.equal(members.has(id), wanted.has(id));
        }
        assert.deepEqual([...tally.pods].toSorted(), [...there.keys()].toSorted());
      }
    }),
  );
});
