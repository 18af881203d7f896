// Memberships put together from slices: whatever happens to single slices, each membership is what its slices say together.

import assert from "node:assert/strict";
import { test } from "node:test";
import { testIp } from "../../../test/store.contract.ts";
import { createSliceBook, type SlicePart, sliceParts } from "./slices.ts";

const slice = (
  name: string,
  membership: string,
  endpoints: readonly { address: string; ports?: readonly { name: string; protocol: string; port: number }[] }[],
): SlicePart =>
  sliceParts.parse({
    metadata: { name },
    membership: membership.repeat(20),
    peer: membership,
    endpoints: endpoints.map(({ address, ...more }) => ({ addresses: [address], ...more })),
  });

const view = (book: ReturnType<typeof createSliceBook>): Record<string, string[]> =>
  Object.fromEntries(
    [...book.memberships()].map(([key, members]) => [
      key.slice(-1),
      members
        .flat()
        .map(({ address, ports }) =>
          [address, ...ports.map(({ name, protocol, port }) => `${name}=${port}/${protocol}`)].join(" "),
        ),
    ]),
  );

void test("slices of one membership are its parts; one that changes or goes takes its part along", () => {
  const book = createSliceBook();
  const [one, two] = [slice("m-1", "a", [{ address: "10.0.0.1" }]), slice("m-2", "a", [{ address: "10.0.0.2" }])];
  book.apply({ after: one });
  book.apply({ after: two });
  assert.deepEqual(view(book), { a: ["10.0.0.1", "10.0.0.2"] });
  const changed = slice("m-1", "a", [{ address: "10.0.0.3" }]);
  book.apply({ before: one, after: changed });
  assert.deepEqual(view(book), { a: ["10.0.0.3", "10.0.0.2"] });
  book.apply({ before: changed });
  assert.deepEqual(view(book), { a: ["10.0.0.2"] });
  book.apply({ before: two });
  assert.deepEqual(view(book), {});
});

void test("an address that stands in two slices stays while one of them has it", () => {
  const book = createSliceBook();
  const http = [{ name: "http", protocol: "TCP", port: 8080 }];
  const [one, two] = [
    slice("m-1", "a", [{ address: "10.0.0.1" }]),
    slice("m-2", "a", [{ address: "10.0.0.1", ports: http }]),
  ];
  book.apply({ after: one });
  book.apply({ after: two });
  assert.deepEqual(view(book), { a: ["10.0.0.1", "10.0.0.1 http=8080/6"] });
  book.apply({ before: two });
  assert.deepEqual(view(book), { a: ["10.0.0.1"] });
});

void test("a slice that is made anew for another membership leaves the first", () => {
  const book = createSliceBook();
  const before = slice("s", "a", [{ address: "10.0.0.1" }]);
  book.apply({ after: before });
  book.apply({ before, after: slice("s", "b", [{ address: "10.0.0.1" }]) });
  assert.deepEqual(view(book), { b: ["10.0.0.1"] });
});

void test("a membership that has not changed is the same list, so that nothing is compiled anew for it", () => {
  const book = createSliceBook();
  book.apply({ after: slice("m-1", "a", [{ address: "10.0.0.1" }]) });
  const before = [...book.memberships().values()][0];
  book.apply({ after: slice("n-1", "b", [{ address: "10.0.0.2" }]) });
  assert.equal([...book.memberships().values()][0], before);
  book.apply({ after: slice("m-2", "a", [{ address: "10.0.0.3" }]) });
  assert.equal(
    [...book.memberships().values()][0]?.[0],
    before?.[0],
    "of one that has, the other slices are the same parts",
  );
});

void test("a slice of what can be no membership is nobody's, and its addresses are listed all the same", () => {
  const book = createSliceBook();
  book.apply({ after: slice("s", "z", [{ address: "10.0.0.1" }]) });
  assert.deepEqual(view(book), {});
  assert.equal(book.listed.has(testIp("10.0.0.1")), true);
});

void test("an address is listed as long as any slice has it, of whichever membership", () => {
  const book = createSliceBook();
  const address = testIp("10.0.0.1");
  const [one, two] = [slice("m-1", "a", [{ address }]), slice("n-1", "b", [{ address }, { address: "10.0.0.2" }])];
  book.apply({ after: one });
  book.apply({ after: two });
  assert.equal(book.listed.size, 2);
  book.apply({ before: one });
  assert.equal(book.listed.has(address), true);
  const without = slice("n-1", "b", [{ address: "10.0.0.2" }]);
  book.apply({ before: two, after: without });
  assert.equal(book.listed.has(address), false);
  book.apply({ before: without });
  assert.equal(book.listed.size, 0);
});
