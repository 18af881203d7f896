// Plans for the slices of a membership: an endpoint stays where it is, few slices are written, none is too large or empty.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { present } from "../../base/assert.ts";
import { endpointsOfSliceMax, type MembershipSlice } from "../../kube/policy-objects.ts";
import { parseIp } from "../../net/ip.ts";
import { endpointId, planSlices, type SliceEndpoint, type SlicePlan } from "./slices.ts";

const membership = "0123456789abcdef0123";

function endpoint(number: number, port?: number): SliceEndpoint {
  const text = `10.4.${number >> 8}.${number & 255}`;
  const addresses = [present(parseIp(text), text)];
  return port === undefined ? { addresses } : { addresses, ports: [{ name: "http", protocol: "TCP", port }] };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);

const members = (...numbers: number[]): Map<string, SliceEndpoint> =>
  new Map(numbers.map((number) => [endpointId(endpoint(number)), endpoint(number)]));

function slice(number: number, ...numbers: number[]): MembershipSlice {
  const metadata = { name: `${membership}-${number}`, uid: `uid-${number}`, resourceVersion: "1" };
  return { metadata, membership, peer: "p", endpoints: numbers.map((each) => endpoint(each)) };
}

const plan = (wanted: Map<string, SliceEndpoint>, slices: MembershipSlice[], kept: string[] = []): SlicePlan =>
  planSlices({ membership, peer: "p", members: wanted, kept: new Set(kept) }, slices);

/** The names of slices in a plan, with how many endpoints each has. */
const sizes = (slices: readonly MembershipSlice[]): [string, number][] =>
  slices.map(({ metadata, endpoints }) => [metadata.name.replace(/^.*-/, ""), endpoints.length]);

test("what stays for now hides nobody who came", () => {
  const { changed } = plan(members(1, 3), [slice(0, 1, 2)], [endpointId(endpoint(2))]);
  assert.deepEqual(
    changed.map(({ endpoints }) => endpoints),
    [[1, 2, 3].map((each) => endpoint(each))],
  );
});

test("a new membership gets as many slices as it needs, with names in order", () => {
  const { changed, made, emptied } = plan(members(...range(0, 250)), []);
  assert.deepEqual([changed, emptied], [[], []]);
  assert.deepEqual(sizes(made), [
    ["0", 100],
    ["1", 100],
    ["2", 50],
  ]);
  assert.ok(made.every((each) => each.membership === membership && each.peer === "p"));
});

test("what is as it should be is not written", () => {
  const slices = [slice(0, ...range(0, 60)), slice(4, ...range(60, 70))];
  assert.deepEqual(plan(members(...range(0, 70)), slices), { changed: [], made: [], emptied: [] });
});

test("one that comes goes into the fullest slice with room; one that goes changes its slice alone", () => {
  const slices = [slice(0, ...range(0, 100)), slice(1, ...range(100, 110)), slice(2, ...range(110, 160))];
  const came = plan(members(...range(0, 161)), slices);
  assert.deepEqual([sizes(came.changed), came.made], [[["2", 51]], []]);
  const left = plan(members(...range(1, 160)), slices);
  assert.deepEqual(sizes(left.changed), [["0", 99]]);
  const both = plan(members(...range(0, 100), ...range(101, 161)), slices);
  assert.deepEqual(sizes(both.changed), [["1", 10]], "one write is enough for both");
});

test("a slice that nothing is left of goes, unless somebody comes at the same time", () => {
  const slices = [slice(0, 1, 2), slice(1, 3)];
  const left = plan(members(1, 2), slices);
  assert.deepEqual([left.changed, left.made, sizes(left.emptied)], [[], [], [["1", 1]]]);
  const gone = plan(members(), slices);
  assert.deepEqual(gone.emptied.length, 2);
  assert.deepEqual(plan(members(1, 2, 9), slices).emptied, []);
});

test("an endpoint that stands in two slices stays in the first, by number", () => {
  const slices = [slice(10, 1, 2), slice(9, 1)];
  const { changed } = plan(members(1, 2), slices);
  assert.deepEqual(sizes(changed), [["10", 1]]);
});

test("other named ports are written in place", () => {
  const wanted = members(1, 2);
  wanted.set(endpointId(endpoint(2)), endpoint(2, 8080));
  const { changed, made } = plan(wanted, [slice(0, 1, 2)]);
  assert.deepEqual(made, []);
  assert.deepEqual(changed[0]?.endpoints, [endpoint(1), endpoint(2, 8080)]);
  assert.deepEqual(plan(wanted, changed).changed, []);
});

test("what is kept for now stays, and takes its room", () => {
  const kept = range(0, 100).map((number) => endpointId(endpoint(number)));
  const { changed, made, emptied } = plan(members(200), [slice(0, ...range(0, 100))], kept);
  assert.deepEqual([changed, emptied, sizes(made)], [[], [], [["1", 1]]]);
});

/** The slices after a plan has been carried out. */
function after(slices: readonly MembershipSlice[], { changed, made, emptied }: SlicePlan): MembershipSlice[] {
  const byName = new Map(slices.map((each) => [each.metadata.name, each]));
  for (const { metadata } of emptied) byName.delete(metadata.name);
  for (const each of made) assert.ok(!byName.has(each.metadata.name), "a new slice has a name of its own");
  for (const each of [...changed, ...made]) byName.set(each.metadata.name, each);
  return [...byName.values()];
}

const numbers = fc.uniqueArray(fc.nat(399), { maxLength: 350, size: "max" });

test("whatever comes and goes, each member stands in one slice, and those that stay have not moved", () => {
  fc.assert(
    fc.property(fc.array(numbers, { minLength: 1, maxLength: 6 }), (steps) => {
      let slices: MembershipSlice[] = [];
      const placeOf = (): Map<string, string> =>
        new Map(slices.flatMap((each) => each.endpoints.map((one) => [endpointId(one), each.metadata.name])));
      for (const step of steps) {
        const before = placeOf();
        const wanted = members(...step);
        slices = after(slices, plan(wanted, slices));
        const listed = slices.flatMap(({ endpoints }) => endpoints.map(endpointId));
        assert.deepEqual(listed.toSorted(), [...wanted.keys()].toSorted());
        for (const { endpoints } of slices)
          assert.ok(endpoints.length > 0 && endpoints.length <= endpointsOfSliceMax, `${endpoints.length} in a slice`);
        const now = placeOf();
        for (const [id, place] of before) if (wanted.has(id)) assert.equal(now.get(id), place, `${id} has not moved`);
        assert.deepEqual(plan(wanted, slices), { changed: [], made: [], emptied: [] }, "and it is at rest");
      }
    }),
    { numRuns: 60 },
  );
});
