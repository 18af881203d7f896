// The comparison itself: it must see what is wrong, and show it small.

import assert from "node:assert/strict";
import { test } from "node:test";
import { compareWithNaive, type Judging } from "./compare.ts";
import { universeOf } from "./naive-universe.ts";
import { naiveReader } from "./naive.ts";

const plan = { seed: 20261126, worlds: 300, packetsMax: 200 };

/** The naive reading itself, but that whatever goes to UDP 53 passes. */
const forgetful: Judging = (world) => (packet) => {
  if (packet.protocol === 17 && packet.destinationPort === 53) return { passes: true };
  return { passes: naiveReader(world, universeOf(world, [packet]))(packet).passes };
};

test("a difference is found and shown with the packet, what each judgement says and the objects that are left", () => {
  assert.throws(
    () => compareWithNaive(forgetful, plan),
    ({ message }: Error) => {
      assert.match(message, /^run \d+ of seed 20261126 \(path [\d:]+, \d+ shrinks\) differs from the naive reading$/m);
      assert.match(message, / -> .* 17\/53 should be denied \(egress metadata: .*\), told: \{"passes":true\}$/m);
      assert.match(message, /networkPolicies: \[/);
      assert.ok(message.split("\n").length < 150, `${message.split("\n").length} lines`);
      return true;
    },
  );
});

test("what agrees is asked about every packet", () => {
  const agreeing: Judging = (world) => (packet) => ({
    passes: naiveReader(world, universeOf(world, [packet]))(packet).passes,
  });
  assert.ok(compareWithNaive(agreeing, { ...plan, worlds: 20 }) > 500);
});
