// The kernel contract's part on masquerade: which plan the kernel holds, told by what `ensure` had to change.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type MasqueradePlan, masqueradePortRangesMax, masqueradeRangesMax } from "../src/kernel/contract.ts";
import { type MakeKernel, cidr, faultOf } from "./kernel-stage.ts";

const plan: MasqueradePlan = {
  from: [cidr("10.4.1.0/24"), cidr("fd00:10:4:1::/64")],
  keep: [cidr("10.0.0.0/8"), cidr("169.254.0.0/16"), cidr("fd00::/8")],
  ports: [],
  randomFully: true,
};

/** Each is another plan than the one above, and than each other. */
const others: Record<string, MasqueradePlan> = {
  "no pods": { ...plan, from: [] },
  "pods of one family": { ...plan, from: [cidr("10.4.1.0/24")] },
  "more pods": { ...plan, from: [...plan.from, cidr("10.4.7.0/24")] },
  "nothing kept": { ...plan, keep: [] },
  "one range fewer": { ...plan, keep: plan.keep.slice(1) },
  "ranges that overlap and touch": { ...plan, keep: [...plan.keep, cidr("10.1.0.0/16"), cidr("11.0.0.0/8")] },
  "everything kept": { ...plan, keep: [cidr("0.0.0.0/0"), cidr("::/0")] },
  "one port": { ...plan, ports: [{ first: 4000, last: 4000 }] },
  "ports in two ranges": {
    ...plan,
    ports: [
      { first: 1024, last: 29_999 },
      { first: 32_768, last: 65_535 },
    ],
  },
  "ports not at random": { ...plan, randomFully: false },
};

const tooMany = Array.from({ length: masqueradeRangesMax + 1 }, (_, index) => cidr(`fd00:${index.toString(16)}::/32`));

/** Registers the tests. */
export function testMasquerade(make: MakeKernel): void {
  for (const [name, other] of Object.entries(others)) {
    void test(`ensure makes the table, changes it to another plan and back: ${name}`, async (t) => {
      const { masquerade } = (await make(t)).kernel;
      assert.equal(await masquerade.ensure(plan), true);
      assert.equal(await masquerade.ensure(plan), false);
      assert.equal(await masquerade.ensure(other), true);
      assert.equal(await masquerade.ensure(other), false);
      assert.equal(await masquerade.ensure(plan), true);
      assert.equal(await masquerade.ensure(plan), false);
    });
  }

  void test("the order of ranges, and naming one twice, make no other plan", async (t) => {
    const { masquerade } = (await make(t)).kernel;
    await masquerade.ensure(plan);
    const same = { ...plan, from: plan.from.toReversed(), keep: [...plan.keep.toReversed(), ...plan.keep] };
    assert.equal(await masquerade.ensure(same), false);
  });

  void test("prune removes the table, twice if asked", async (t) => {
    const { masquerade } = (await make(t)).kernel;
    await masquerade.prune();
    await masquerade.ensure(plan);
    await masquerade.prune();
    await masquerade.prune();
    assert.equal(await masquerade.ensure(plan), true);
  });

  void test("what somebody else does to the table is seen and undone", async (t) => {
    const { kernel, damageMasquerade } = await make(t);
    for (const damage of ["rules flushed", "table deleted"] as const) {
      await kernel.masquerade.ensure(plan);
      damageMasquerade(damage);
      assert.equal(await kernel.masquerade.ensure(plan), true, damage);
      assert.equal(await kernel.masquerade.ensure(plan), false, damage);
    }
  });

  void test("masquerade and guard are two tables: neither knows of the other", async (t) => {
    const { guard, masquerade } = (await make(t)).kernel;
    await guard.ensure([]);
    await masquerade.ensure(plan);
    assert.equal(await guard.ensure([]), false);
    await guard.prune();
    assert.equal(await masquerade.ensure(plan), false);
    await guard.ensure([]);
    await masquerade.prune();
    assert.equal(await guard.ensure([]), false);
  });

  void test("calls made together take effect in the order in which they were made", async (t) => {
    const { masquerade } = (await make(t)).kernel;
    const outcomes = await Promise.all([
      masquerade.ensure(plan),
      masquerade.ensure(plan),
      masquerade.prune(),
      masquerade.ensure(plan),
    ]);
    assert.deepEqual(outcomes, [true, false, undefined, true]);
  });

  void test("a plan beyond its limits is refused, and changes nothing", async (t) => {
    const { masquerade } = (await make(t)).kernel;
    await masquerade.ensure(plan);
    const wrong: MasqueradePlan[] = [
      { ...plan, keep: tooMany },
      { ...plan, ports: [{ first: 0, last: 10 }] },
      { ...plan, ports: [{ first: 20, last: 10 }] },
      { ...plan, ports: [{ first: 1, last: 65_536 }] },
      { ...plan, ports: Array.from({ length: masqueradePortRangesMax + 1 }, () => ({ first: 1, last: 1 })) },
    ];
    for (const one of wrong) await assert.rejects(masquerade.ensure(one), faultOf("bug"));
    assert.equal(await masquerade.ensure(plan), false);
  });

  void test("as many ranges as a plan may have", async (t) => {
    const { masquerade } = (await make(t)).kernel;
    const largest = { ...plan, keep: tooMany.slice(0, masqueradeRangesMax - plan.from.length) };
    assert.equal(await masquerade.ensure(largest), true);
    assert.equal(await masquerade.ensure(largest), false);
  });
}
