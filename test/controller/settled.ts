// What must hold when a leader has nothing left to do: every node served, every bit of the ledgers accounted for, nothing left behind.

import assert from "node:assert/strict";
import {
  type BlockBook,
  blocksOf,
  bookUsage,
  decodeBook,
  emptyBook,
  markBlock,
  placeOf,
} from "../../src/ipam/node-blocks.ts";
import { nodes } from "../../src/kube/core-objects.ts";
import { blockLedgers, nodeEndpoints, nodeNetworks } from "../../src/kube/objects.ts";
import { type Cidr, parseCidr } from "../../src/net/cidr.ts";
import { present } from "../../src/base/assert.ts";
import type { Replica } from "./replica.ts";
import type { World } from "./world.ts";

/** Passes until nothing is written any more, and what they may at most be. */
const passesMax = 12;

/** Lets a leader work until it has nothing left to do. @throws where it never comes to rest */
export async function settle(world: World, replica: Replica): Promise<void> {
  for (let pass = 0; pass < passesMax; pass += 1) {
    await replica.catchUp();
    const before = world.server.store.version();
    await replica.pass();
    if (world.server.store.version() === before) return;
  }
  assert.fail(`the controller still writes after ${passesMax} passes`);
}

/** Looks at the whole cluster. `unserved`: names of nodes that cannot have blocks of ours. */
export async function checkSettled(world: World, unserved: ReadonlySet<string> = new Set()): Promise<void> {
  const { kube, config, guard } = world;
  assert.deepEqual(guard.broken(), []);
  const { items: allNodes } = await kube.list(nodes);
  const { items: allNetworks } = await kube.list(nodeNetworks);
  const { items: allEndpoints } = await kube.list(nodeEndpoints);
  const byName = new Map(allNodes.map((node) => [node.metadata.name, node]));
  const owned: Cidr[] = [];
  for (const { metadata, spec } of allNodes) {
    const cidrs = (spec.podCIDRs ?? []).flatMap((text) => parseCidr(text) ?? []);
    owned.push(...cidrs);
    if (!unserved.has(metadata.name))
      assert.equal(cidrs.length, config.ranges.length, `${metadata.name} has its blocks`);
  }
  for (const { metadata, spec, status } of allNetworks) {
    const node = byName.get(metadata.name);
    assert.equal(spec.nodeUid, node?.metadata.uid, `NodeNetwork ${metadata.name} has its Node`);
    if (unserved.has(metadata.name)) continue;
    assert.equal(status?.nodeUid, node?.metadata.uid, `the status of ${metadata.name} is about its Node`);
    assert.deepEqual(
      status?.blocks.map(({ cidr }) => cidr),
      node?.spec.podCIDRs,
    );
    assert.deepEqual(
      status?.addresses,
      node?.status.addresses?.map(({ address }) => address),
    );
    const condition = node?.status.conditions?.find(({ type }) => type === "NetworkUnavailable");
    assert.deepEqual([condition?.status, condition?.reason], ["False", "FairleadReady"], metadata.name);
  }
  for (const { metadata, nodeUid } of allEndpoints)
    assert.equal(nodeUid, byName.get(metadata.name)?.metadata.uid, `NodeEndpoints ${metadata.name} has its Node`);
  await checkLedgers(world, owned);
}

/** Bitmap = owned + service, and nothing is promised. */
async function checkLedgers({ kube, config }: World, owned: readonly Cidr[]): Promise<void> {
  const { items } = await kube.list(blockLedgers);
  assert.equal(items.length, config.ranges.length);
  for (const { cidr, blockPrefix } of config.ranges) {
    const ledger = present(
      items.find(({ spec }) => spec.range === cidr),
      `the ledger of ${cidr}`,
    );
    const book = decodeBook(ledger.spec, config.serviceRanges);
    const expected = emptyBook(cidr, blockPrefix, config.serviceRanges);
    for (const block of owned.flatMap((own) => blocksOf(placeOf(expected, own)))) markBlock(expected, block);
    assert.deepEqual(bitsOf(book), bitsOf(expected), `the bitmap of ${cidr} is what nodes and services have`);
    assert.deepEqual(bookUsage(book), bookUsage(expected));
  }
}

const bitsOf = ({ used }: BlockBook): string => [...used].map((byte) => byte.toString(2).padStart(8, "0")).join(" ");
