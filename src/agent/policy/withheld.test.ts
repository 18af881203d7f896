// Which addresses are withheld: what slices list, and what may be listed while the cluster has not told.

import assert from "node:assert/strict";
import { test } from "node:test";
import { testIp } from "../../../test/store.contract.ts";
import { groupMembership } from "../../policy/membership.ts";
import { createWithheld } from "./withheld.ts";

const [heard, before, other] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(testIp);
const { key } = groupMembership("m");
const kept = { memberships: new Map([[key, [[{ address: testIp("10.0.0.2"), ports: [] }]]]]) };

void test("what was kept counts until the cluster has told all of it; where nothing was kept, everything may be listed", () => {
  let known = false;
  const source = { known: () => known, listed: new Map([[testIp("10.0.0.1"), 1]]) };
  const [withKept, without] = [createWithheld(source, kept), createWithheld(source, undefined)];
  const seen = (withheld: typeof withKept): boolean[] =>
    [heard, before, other].map((address) => address !== undefined && withheld.has(address));
  assert.deepEqual(
    [seen(withKept), seen(without)],
    [
      [true, true, false],
      [true, true, true],
    ],
  );
  assert.equal(withKept.size, 2);
  assert.deepEqual([[...withKept.keys()], [...without.keys()]], [[heard, before], [heard]]);
  assert.deepEqual([withKept.isAny, without.isAny], [false, true]);
  known = true;
  assert.deepEqual(
    [seen(withKept), seen(without)],
    [
      [true, false, false],
      [true, false, false],
    ],
  );
  assert.deepEqual([[...withKept.keys()], without.isAny], [[heard], false]);
});
