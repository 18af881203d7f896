// The kernel contract's part on the source guard: which pairs of link and address are allowed.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Guard, GuardEntry } from "../src/kernel/contract.ts";
import { type MakeKernel, faultOf, ip } from "./kernel-stage.ts";

const a4: GuardEntry = { link: "fla", address: ip("10.0.0.1") };
const a6: GuardEntry = { link: "fla", address: ip("fd00::1") };
const b4: GuardEntry = { link: "flb", address: ip("10.0.0.2") };
const anyOf = (link: string): GuardEntry => ({ link, address: "any" });
const longest: GuardEntry = { link: "fl0123456789abc", address: ip("10.0.0.2") };

/** What the guard holds, in a stable order. */
async function held(guard: Guard): Promise<string[] | undefined> {
  return (await guard.list())?.map(phrase).toSorted();
}

const phrase = ({ link, address }: GuardEntry): string => `${link} ${address}`;
const phrases = (...entries: GuardEntry[]): string[] => entries.map(phrase).toSorted();

export function testGuard(make: MakeKernel): void {
  void test("ensure makes the table once, and its entries exactly those named", async (t) => {
    const { guard } = (await make(t)).kernel;
    assert.equal(await guard.list(), undefined);
    assert.equal(await guard.ensure([]), true);
    assert.deepEqual(await held(guard), []);
    assert.equal(await guard.ensure([]), false);
    assert.equal(await guard.ensure([a4, a6, longest]), true);
    assert.deepEqual(await held(guard), phrases(a4, a6, longest));
    assert.equal(await guard.ensure([longest, a6, a4]), false);
    assert.equal(await guard.ensure([a6, b4]), true);
    assert.deepEqual(await held(guard), phrases(a6, b4));
    assert.equal(await guard.ensure([]), true);
    assert.deepEqual(await held(guard), []);
  });

  void test("a link that may send from any address is an entry beside the others", async (t) => {
    const { guard } = (await make(t)).kernel;
    await guard.ensure([a4, anyOf("fla")]);
    assert.deepEqual(await held(guard), phrases(a4, anyOf("fla")));
    assert.equal(await guard.ensure([anyOf("fla"), a4]), false);
    await guard.admit([anyOf("flb")]);
    await guard.withdraw([anyOf("fla"), anyOf("flc")]);
    assert.deepEqual(await held(guard), phrases(a4, anyOf("flb")));
    assert.equal(await guard.ensure([a4]), true);
    assert.deepEqual(await held(guard), phrases(a4));
  });

  void test("a link may have many addresses, an address many links; naming one twice is no error", async (t) => {
    const { guard } = (await make(t)).kernel;
    await guard.ensure([a4, a4]);
    await guard.admit([b4, longest, b4]);
    assert.deepEqual(await held(guard), phrases(a4, b4, longest));
    await guard.withdraw([b4, b4]);
    assert.deepEqual(await held(guard), phrases(a4, longest));
  });

  void test("admitting what is there and withdrawing what is gone succeeds", async (t) => {
    const { guard } = (await make(t)).kernel;
    await guard.ensure([]);
    await guard.admit([a4, a6]);
    await guard.admit([a6, b4]);
    assert.deepEqual(await held(guard), phrases(a4, a6, b4));
    await guard.withdraw([a4, longest]);
    await guard.withdraw([a4]);
    await guard.withdraw([a6, a4, b4]);
    assert.deepEqual(await held(guard), []);
    await guard.admit([]);
    await guard.withdraw([]);
    assert.deepEqual(await held(guard), []);
  });

  void test("without its table nothing can be admitted, and everything is withdrawn", async (t) => {
    const { guard } = (await make(t)).kernel;
    await assert.rejects(guard.admit([a4]), faultOf("kernel-missing"));
    await guard.withdraw([a4]);
    assert.equal(await guard.list(), undefined);
  });

  void test("prune removes table and entries, twice if asked", async (t) => {
    const { guard } = (await make(t)).kernel;
    await guard.ensure([a4, a6]);
    await guard.prune();
    assert.equal(await guard.list(), undefined);
    await guard.prune();
    assert.equal(await guard.ensure([b4]), true);
    assert.deepEqual(await held(guard), phrases(b4));
  });

  void test("calls made together take effect in the order in which they were made", async (t) => {
    const { guard } = (await make(t)).kernel;
    const outcomes = await Promise.all([
      guard.ensure([a4]),
      guard.admit([b4]),
      guard.withdraw([a4, b4]),
      guard.admit([a6]),
      guard.list(),
      guard.withdraw([a6]),
    ]);
    assert.deepEqual(outcomes[4], [a6]);
    assert.deepEqual(await held(guard), []);
  });
}
