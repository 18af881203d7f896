// Conformance 7: many calls at once: addresses stay unique, every DEL succeeds, and nothing is left of anybody.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addressesOf, bare, globalAddressesIn, hasLink } from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { resultOf, silent } from "./runtime.ts";

// Room for every address of these tests, those that rest after their DEL too.
const node = await startNode(fileScope, { blocks: ["10.4.0.0/21", "fd00:10:4:1::/64"] });
const pods = Array.from({ length: 200 }, () => node.pod(fileScope));

test("7.1 two hundred DELs at once all succeed silently, and leave nothing", async () => {
  for (const half of [pods.slice(0, 100), pods.slice(100)])
    for (const outcome of await node.each("ADD", half)) resultOf(outcome);
  for (const outcome of await node.each("DEL", pods)) silent(outcome);
  await bare(node);
  for (const { ns } of pods) assert.ok(!hasLink(ns, "eth0"));
});

test("7.2 a hundred ADDs and a hundred DELs, mixed: the first attached, the others gone", async () => {
  const leaving = pods.slice(0, 100);
  const coming = pods.slice(100);
  const before = (await node.each("ADD", leaving)).map(resultOf);
  const mixed = await Promise.all(
    coming.flatMap((pod, index) => [
      node.call("ADD", pod).then(resultOf),
      node.call("DEL", leaving[index]).then(silent),
    ]),
  );
  const results = mixed.filter((result) => result !== undefined);
  const given = [...before, ...results].flatMap(addressesOf);
  assert.equal(new Set(given).size, 400, "no address was given twice");
  for (const [index, pod] of coming.entries())
    assert.deepEqual(
      globalAddressesIn(pod.ns, "eth0").sort(),
      results[index]?.ips.map(({ address }) => address).sort(),
    );
  for (const { ns } of leaving) assert.ok(!hasLink(ns, "eth0"));
  for (const outcome of await node.each("DEL", coming)) silent(outcome);
  await bare(node);
});

test("7.3 three DELs of each pod at once all succeed silently", async () => {
  const some = pods.slice(0, 20);
  for (const outcome of await node.each("ADD", some)) resultOf(outcome);
  for (const outcome of await node.each("DEL", [...some, ...some, ...some])) silent(outcome);
  await bare(node);
});
