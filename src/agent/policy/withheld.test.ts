// Which addresses are withheld: what slices list, and what may be listed while the cluster has not told.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { present } from "../../base/assert.ts";
import { testIp } from "../../../test/store.contract.ts";
import { chooseAddress, emptyBook, lease, usage } from "../../ipam/leases.ts";
import { createAddressTally } from "../../net/address-tally.ts";
import { parseCidr } from "../../net/cidr.ts";
import { groupMembership } from "../../policy/membership.ts";
import { createSliceBook, type SlicePart } from "./slices.ts";
import { createWithheld } from "./withheld.ts";

const [heard, before, other] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(testIp);
const { key } = groupMembership("m");
const all = [present(parseCidr("10.0.0.0/8"), "a network")];
const kept = { memberships: new Map([[key, [[{ address: testIp("10.0.0.2"), ports: [] }]]]]) };

void test("what was kept counts until the cluster has told all of it; where nothing was kept, everything may be listed", () => {
  let known = false;
  const source = { known: () => known, listed: createAddressTally([testIp("10.0.0.1")]) };
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
  assert.deepEqual([[...withKept.within(all)], [...without.within(all)]], [[heard, before], [heard]]);
  assert.deepEqual([withKept.isAny, without.isAny], [false, true]);
  known = true;
  assert.deepEqual(
    [seen(withKept), seen(without)],
    [
      [true, false, false],
      [true, false, false],
    ],
  );
  assert.deepEqual([[...withKept.within(all)], without.isAny], [[heard], false]);
});

void test("what is looked at to choose and to count grows with this node's addresses, not with the cluster's members", (t) => {
  const slices = createSliceBook();
  const elsewhere = Array.from({ length: 40 }, (_, node) =>
    sliceOf(`elsewhere-${node}`, `10.5.${node}`, `fd00:5:${node}:`),
  );
  for (const after of elsewhere) slices.apply({ after });
  const blocks = ["10.4.1.0/28", "fd00:4:1::/64"].map((text) => present(parseCidr(text), text));
  const book = emptyBook(blocks);
  let known = false;
  book.withheld = createWithheld({ known: () => known, listed: slices.listed }, { memberships: slices.memberships() });
  while (book.leased.size < 13) lease(book, chooseAddress(book, 4, 0));
  usage(book, 0);
  const asked = (): void => {
    assert.throws(() => chooseAddress(book, 4, 0), /13 in use/);
    assert.equal(usage(book, 0)[1]?.withheld, 2);
  };
  const own = sliceOf("own", "10.4.1", "fd00:4:1:", 2);
  const changes = [{ after: own }, { before: present(elsewhere[0], "a slice") }, { before: own, after: own }];
  for (const change of changes) {
    const steps = stepsOf(t, () => {
      slices.apply(change);
      asked();
    });
    assert.ok(steps < 200, `${steps} looked at`);
    known = true;
  }
});

/** As many endpoints as said, each with an address of either family. */
function sliceOf(name: string, v4: string, v6: string, count = 50): SlicePart {
  const addresses = Array.from({ length: count }, (_, at) => [`${v4}.${at + 2}`, `${v6}:${at + 2}`]).flat();
  return {
    metadata: { name },
    membership: key,
    members: addresses.map((text) => ({ address: testIp(text), ports: [] })),
  };
}

/** How many entries of maps and sets were looked at, one after the other. */
function stepsOf(t: TestContext, work: () => void): number {
  const iterators = [new Map().keys(), new Set().keys()].map((iterator): { next: () => unknown } =>
    Object.getPrototypeOf(iterator),
  );
  const spies = iterators.map((iterator) => t.mock.method(iterator, "next"));
  work();
  const steps = spies.reduce((sum, { mock }) => sum + mock.callCount(), 0);
  for (const { mock } of spies) mock.restore();
  return steps;
}
