// Conformance 7: many calls at once: addresses stay unique, every DEL succeeds, and nothing is left of anybody.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { addressesOf, bare, globalAddressesIn, hasLink } from "./eyes.ts";
import { fileScope, type Pod, startNode } from "./node.ts";
import { resultOf, silent } from "./runtime.ts";

// Room for every address of these tests, those that rest after their DEL too.
const node = await startNode(fileScope, { blocks: ["10.4.0.0/21", "fd00:10:4:1::/64"] });
/** Two containers to a namespace, which saves the kernel half of the namespaces: to us they are two hundred pods. */
const eth0s = Array.from({ length: 100 }, () => node.pod(fileScope));
const net1s = eth0s.map(({ ns }): Pod => ({ id: randomBytes(32).toString("hex"), ifname: "net1", ns }));
const all = [...eth0s, ...net1s];

test("7.1 two hundred DELs at once all succeed silently, and leave nothing", async () => {
  for (const half of [eth0s, net1s]) for (const outcome of await node.each("ADD", half)) resultOf(outcome);
  for (const outcome of await node.each("DEL", all)) silent(outcome);
  await bare(node);
  for (const { ns, ifname } of all.slice(90, 110)) assert.ok(!hasLink(ns, ifname));
});

test("7.2 a hundred ADDs and a hundred DELs, mixed: the first attached, the others gone", async () => {
  const before = (await node.each("ADD", eth0s)).map(resultOf);
  const mixed = await Promise.all(
    net1s.flatMap((pod, index) => [node.call("ADD", pod).then(resultOf), node.call("DEL", eth0s[index]).then(silent)]),
  );
  const results = mixed.filter((result) => result !== undefined);
  assert.equal(results.length, 100);
  const given = [...before, ...results].flatMap(addressesOf);
  assert.equal(new Set(given).size, 400, "no address was given twice");
  for (const [index, { ns }] of net1s.slice(0, 20).entries()) {
    const wanted = results[index]?.ips.map(({ address }) => address).sort();
    assert.deepEqual(globalAddressesIn(ns, "net1").sort(), wanted);
    assert.ok(!hasLink(ns, "eth0"));
  }
  for (const outcome of await node.each("DEL", net1s)) silent(outcome);
  await bare(node);
});

test("7.3 three DELs of each pod at once all succeed silently", async () => {
  const some = eth0s.slice(0, 20);
  for (const outcome of await node.each("ADD", some)) resultOf(outcome);
  for (const outcome of await node.each("DEL", [...some, ...some, ...some])) silent(outcome);
  await bare(node);
});
