// Giving: what is taken for whom, what is marked before, and how long a promise stands.

import assert from "node:assert/strict";
import { test } from "node:test";
import { networkOf, view } from "../../test/controller/objects.ts";
import { present } from "../base/assert.ts";
import { type BlockBook, bookUsage, emptyBook, givenBlocks, takeBlock } from "../ipam/node-blocks.ts";
import { parseCidr } from "../net/cidr.ts";
import { namingsOf, planGifts } from "./give.ts";
import type { NodeView } from "./node-view.ts";
import type { NodeNetwork } from "../kube/objects.ts";

const book = (range: string, prefix: number): BlockBook => emptyBook(present(parseCidr(range), range), prefix, []);
const plan = (books: BlockBook[], views: NodeView[], networks: NodeNetwork[] = [], give = true) =>
  planGifts(books, views, namingsOf(views, networks), { give });

test("one block of every range for each node without podCIDRs, the oldest node first", () => {
  const books = [book("10.64.0.0/16", 24), book("fd00:64::/48", 64)];
  const views = [view("b", { createdAt: "2026-01-02T00:00:00Z" }), view("a", { createdAt: "2026-01-01T00:00:00Z" })];
  const { given, full, changed } = plan(books, views);
  assert.deepEqual(
    [...given],
    [
      ["a-uid", ["10.64.0.0/24", "fd00:64::/64"]],
      ["b-uid", ["10.64.1.0/24", "fd00:64:0:1::/64"]],
    ],
  );
  assert.equal(full.size, 0);
  assert.equal(changed.size, 2);
  assert.deepEqual(books[0]?.pending, [
    { block: 0, node: "a", nodeUid: "a-uid" },
    { block: 1, node: "b", nodeUid: "b-uid" },
  ]);
});

test("what nodes and NodeNetworks name is marked before anything is taken, whatever its size", () => {
  const one = book("10.64.0.0/16", 24);
  const views = [
    view("old", { podCIDRs: ["10.64.0.0/24"] }),
    view("wide", { podCIDRs: ["10.64.2.0/23"] }),
    view("narrow", { podCIDRs: ["10.64.4.128/25"] }),
    view("outside", { podCIDRs: ["192.168.0.0/24"] }),
    view("new"),
  ];
  const { given } = plan([one], views, [networkOf("gone", ["10.64.1.0/24"])]);
  assert.deepEqual(givenBlocks(one), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual([...given], [["new-uid", ["10.64.5.0/24"]]]);
});

test("a promise is kept until its Node names the block, and is the same whoever makes the next pass", () => {
  const one = book("10.64.0.0/16", 24);
  plan([one], [view("a"), view("b")]);
  const again = plan([one], [view("a"), view("b")]);
  assert.deepEqual([again.given.get("a-uid"), again.changed.size], [["10.64.0.0/24"], 0]);
  const later = plan([one], [view("a", { podCIDRs: ["10.64.0.0/24"] }), view("b")]);
  assert.deepEqual([...later.given.keys()], ["b-uid"]);
  assert.deepEqual(
    one.pending.map(({ node }) => node),
    ["b"],
  );
  assert.deepEqual(givenBlocks(one), [0, 1]);
  const other = plan([one], [view("a", { podCIDRs: ["10.64.0.0/24"] }), view("b", { podCIDRs: ["10.64.9.0/24"] })]);
  assert.equal(other.given.size, 0);
  assert.equal(one.pending.length, 1, "only the sweep ends a promise that its Node has no use for");
});

test("a namesake gets a block of its own, not the promise of the node before it", () => {
  const one = book("10.64.0.0/16", 24);
  plan([one], [view("a")]);
  assert.deepEqual([...plan([one], [view("a", { uid: "second" })]).given], [["second", ["10.64.1.0/24"]]]);
});

test("a full range gives to nobody, and takes nothing of the other range", () => {
  const books = [book("10.64.0.0/16", 24), book("fd00:64::/64", 64)];
  const { given, full } = plan(books, [view("a"), view("b")]);
  assert.deepEqual([...given.keys()], ["a-uid"]);
  assert.deepEqual([...full], [["b-uid", "fd00:64::/64"]]);
  assert.deepEqual(
    books.map((one) => bookUsage(one).given),
    [1, 1],
  );
});

test("at most 256 promises stand at once; the rest waits without being called full", () => {
  const one = book("10.64.0.0/14", 24);
  const views = Array.from({ length: 300 }, (_, at) => view(`n${String(at).padStart(3, "0")}`));
  const first = plan([one], views);
  assert.deepEqual([first.given.size, first.full.size, one.pending.length], [256, 0, 256]);
  const served = views.map((each) => ({ ...each, podCidrs: first.given.get(each.uid) ?? [] }));
  assert.equal(plan([one], served).given.size, 44);
});

test("a promised block that somebody else has taken is not given: another one is", () => {
  const one = book("10.64.0.0/16", 24);
  plan([one], [view("a")]);
  const { given } = plan([one], [view("a"), view("thief", { podCIDRs: ["10.64.0.0/24"] })]);
  assert.deepEqual([...given], [["a-uid", ["10.64.1.0/24"]]]);
  assert.equal(one.pending.length, 2, "and the first promise stands: a write may be on its way");
});

test("a Node that has lost its podCIDRs gets what all nodes were told, and it is promised again", () => {
  const one = book("10.64.0.0/16", 24);
  takeBlock(one);
  const network = networkOf("a", ["10.64.7.0/24"]);
  const { given } = plan([one], [view("a", {}, network)], [network]);
  assert.deepEqual([...given], [["a-uid", ["10.64.7.0/24"]]]);
  assert.deepEqual(one.pending, [{ block: 7, node: "a", nodeUid: "a-uid" }]);
});

test("nothing is taken for nodes that leave or cannot be read, nor where the cluster assigns", () => {
  const one = book("10.64.0.0/16", 24);
  const views = [view("leaving", { leaving: true }), view("odd", { podCIDRs: ["10.64.0.1/24"] })];
  assert.equal(plan([one], views).given.size, 0);
  assert.equal(plan([one], [view("a")], [], false).given.size, 0);
  assert.equal(bookUsage(one).given, 0);
});
