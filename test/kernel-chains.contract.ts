// The kernel contract's part on what else judges forwarded packets, and on calls that are under way.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ForwardChain } from "../src/kernel/contract.ts";
import type { MakeKernel } from "./kernel-stage.ts";

const chains: readonly ForwardChain[] = [
  { family: "ip", table: "filter", chain: "FORWARD", policy: "drop" },
  { family: "ip6", table: "filter", chain: "FORWARD", policy: "accept" },
  { family: "inet", table: "firewalld", chain: "filter_FORWARD", policy: "accept" },
];

const byName = (a: ForwardChain, b: ForwardChain): number =>
  `${a.family}${a.table}`.localeCompare(`${b.family}${b.table}`);

/** Registers the tests. */
export function testChains(make: MakeKernel): void {
  void test("chains on the forward hook are told with their policy; those of other hooks, and our own guard, are not", async (t) => {
    const { kernel, addForwardChain } = await make(t);
    await kernel.guard.ensure([]);
    assert.deepEqual(await kernel.forwardChains(), []);
    for (const chain of chains) addForwardChain(chain);
    assert.deepEqual((await kernel.forwardChains()).toSorted(byName), [...chains].toSorted(byName));
  });

  void test("no call is under way once all have ended", async (t) => {
    const { kernel } = await make(t);
    await Promise.all([kernel.node.links(), kernel.guard.list(), kernel.conntrack.forget([])]);
    assert.deepEqual(kernel.callsUnderWay(), { route: 0, nftables: 0, removal: 0 });
  });
}
