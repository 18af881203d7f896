// Plans of clusters: nothing shared, everything connected, bounds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../src/base/assert.ts";
import { cidrContains, cidrsOverlap } from "../src/net/cidr.ts";
import { nodesMax, planCluster } from "./layout.ts";

void test("in the largest lab no two nodes share an address or a block, and each has a way to all others", () => {
  const { nodes } = planCluster({ lab: "x", nodes: nodesMax, families: [4, 6], gateway: true });
  assert.equal(nodes.length, nodesMax);
  assert.equal(new Set(nodes.map(({ netns }) => netns)).size, nodesMax);
  for (const node of nodes) {
    for (const family of [4, 6] as const) {
      const block = present(node.blocks[family], "block");
      const address = present(node.addresses[family], "address");
      for (const other of nodes.filter((one) => one !== node)) {
        assert.notEqual(other.addresses[family], address);
        assert.ok(!cidrsOverlap(block, present(other.blocks[family], "block")));
        assert.ok(!cidrContains(block, present(other.addresses[family], "address")));
        assert.ok(
          other.routes.some(({ to, via }) => to === block && via === address),
          `${other.name} has a way to ${block}`,
        );
      }
    }
    assert.equal(node.routes.length, 2 * (nodesMax - 1));
  }
});

void test("one family, and no gateway, where that is asked", () => {
  const { nodes, gateway } = planCluster({ lab: "x", nodes: 2, families: [6], gateway: false });
  assert.deepEqual(gateway, {});
  assert.deepEqual(nodes[1]?.addresses, { 6: "fd00:30::12" });
  assert.deepEqual(nodes[1]?.blocks, { 6: "fd00:10:4:2::/64" });
  assert.deepEqual(nodes[1]?.routes, [{ to: "fd00:10:4:1::/64", via: "fd00:30::11" }]);
});

void test("a number of nodes out of bounds is refused", () => {
  for (const nodes of [0, nodesMax + 1, 1.5, Number.NaN]) {
    assert.throws(() => planCluster({ lab: "x", nodes, families: [4], gateway: true }), /a lab has 1 to 16 nodes/);
  }
});
