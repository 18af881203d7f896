// Claims that overlap: who stands back, and that nobody else is bothered.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { networkOf, view } from "../../test/controller/objects.ts";
import { cidrsOverlap } from "../net/cidr.ts";
import { overlapsOf } from "./claims.ts";

test("of two nodes with one podCIDR the younger stands back", () => {
  const views = [
    view("b", { podCIDRs: ["10.64.1.0/24", "fd00:1::/64"], createdAt: "2026-01-02T00:00:00Z" }),
    view("a", { podCIDRs: ["10.64.1.0/24", "fd00:2::/64"], createdAt: "2026-01-01T00:00:00Z" }),
    view("c", { podCIDRs: ["10.64.2.0/24"] }),
  ];
  const expected = { cidr: "10.64.1.0/24", otherName: "a", otherCidr: "10.64.1.0/24" };
  assert.deepEqual([...overlapsOf(views, [])], [["b", expected]]);
});

test("what all nodes have been told goes before an older Node", () => {
  const network = networkOf("young", ["10.64.1.0/24"]);
  const views = [
    view("old", { podCIDRs: ["10.64.0.0/16"], createdAt: "2020-01-01T00:00:00Z" }),
    view("young", { podCIDRs: ["10.64.1.0/24"] }, network),
  ];
  assert.deepEqual([...overlapsOf(views, [network]).keys()], ["old"]);
});

test("a NodeNetwork that has lost its Node keeps its blocks until it is removed", () => {
  const orphan = networkOf("gone", ["10.64.1.0/24"]);
  const views = [view("next", { podCIDRs: ["10.64.1.0/24"] })];
  assert.equal(overlapsOf(views, [orphan]).get("next")?.otherName, "gone");
});

test("a node does not contend with the namesake before it", () => {
  const network = { ...networkOf("a", ["10.64.1.0/24"], "the one before"), spec: networkOf("a").spec };
  assert.equal(overlapsOf([view("a", { podCIDRs: ["10.64.1.0/24"] }, network)], [network]).size, 0);
});

test("against every pair: overlapping claims leave one that stands, and no other node stands back", () => {
  const claim = fc
    .tuple(fc.nat(15), fc.integer({ min: 20, max: 26 }))
    .map(([third, prefix]) => `10.64.${prefix < 24 ? (third >> (24 - prefix)) << (24 - prefix) : third}.0/${prefix}`);
  fc.assert(
    fc.property(fc.array(fc.tuple(claim, fc.boolean()), { maxLength: 12 }), (claims) => {
      const networks = claims.flatMap(([cidr, held], at) => (held ? [networkOf(`n${at}`, [cidr])] : []));
      const views = claims.map(([cidr], at) =>
        view(
          `n${at}`,
          { podCIDRs: [cidr] },
          networks.find(({ metadata }) => metadata.name === `n${at}`),
        ),
      );
      const losers = overlapsOf(views, networks);
      for (const a of views) {
        const rivals = views.filter(
          (b) => b !== a && b.podCidrs.some((cidr) => a.podCidrs.some((own) => cidrsOverlap(cidr, own))),
        );
        if (rivals.length === 0) assert.equal(losers.has(a.name), false);
        else if (!losers.has(a.name)) for (const b of rivals) assert.equal(losers.has(b.name), true);
      }
      if (views.length > 0) assert.ok(losers.size < views.length, "somebody stands");
    }),
  );
});
