// Members that vanish: a few at once, many only when they stay away.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../base/assert.ts";
import type { MembershipSlice } from "../../kube/policy-objects.ts";
import { parseIp } from "../../net/ip.ts";
import { createLosses, massSettleMs } from "./losses.ts";
import { endpointId, type SliceEndpoint } from "./slices.ts";

const endpoints = (count: number): SliceEndpoint[] =>
  Array.from({ length: count }, (_, at) => ({ addresses: [present(parseIp(`10.4.0.${at}`), "an address")] }));
const slice = (all: SliceEndpoint[]): MembershipSlice => ({
  metadata: { name: "k-0" },
  membership: "k",
  peer: "p",
  endpoints: all,
});
const byId = (all: SliceEndpoint[]) => new Map(all.map((one) => [endpointId(one), one]));
const nothing = (): boolean => false;

test("a fifth of many, or all of a few, go at once", () => {
  const losses = createLosses(() => 0);
  const many = endpoints(50);
  assert.equal(losses.keptOf("k", [slice(many)], byId(many.slice(10)), nothing).size, 0);
  const few = endpoints(49);
  assert.equal(losses.keptOf("k", [slice(few)], byId([]), nothing).size, 0);
});

test("more than a fifth of many stay until they have been away for the time; then each by its own", () => {
  let nowMs = 0;
  const losses = createLosses(() => nowMs);
  const many = endpoints(50);
  const kept = (gone: number): number => losses.keptOf("k", [slice(many)], byId(many.slice(gone)), nothing).size;
  assert.equal(kept(11), 11);
  nowMs = massSettleMs - 1;
  assert.equal(kept(12), 12);
  nowMs = massSettleMs;
  assert.equal(kept(12), 1, "the twelfth is away for a shorter time");
  nowMs += massSettleMs;
  assert.equal(kept(12), 0);
});

test("a time away counts from the last time that it was seen", () => {
  let nowMs = 0;
  const losses = createLosses(() => nowMs);
  const many = endpoints(50);
  const kept = (gone: number): number => losses.keptOf("k", [slice(many)], byId(many.slice(gone)), nothing).size;
  assert.equal(kept(20), 20);
  nowMs = massSettleMs;
  assert.equal(kept(0), 0, "all are back");
  assert.equal(kept(20), 20);
});

test("what is attached and only no member any more goes at once: somebody has said so", () => {
  const losses = createLosses(() => 0);
  const many = endpoints(50);
  assert.equal(losses.keptOf("k", [slice(many)], byId([]), () => true).size, 0);
});
