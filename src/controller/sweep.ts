// The loop that removes what belonged to nodes that are gone: NodeNetworks, NodeEndpoints, and then their blocks in the ledgers.

import { type Brake, createBrake } from "../base/brake.ts";
import { present } from "../base/assert.ts";
import { isFault } from "../base/fault.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import { dropOldest } from "../base/newest.ts";
import { blockCidr, givenBlocks } from "../ipam/node-blocks.ts";
import type { Kind, KubeObject } from "../kube/contract.ts";
import { nodes } from "../kube/core-objects.ts";
import { nodeEndpoints, nodeNetworks, ourGroup, ourVersion } from "../kube/objects.ts";
import type { Cidr } from "../net/cidr.ts";
import type { ControllerDeps } from "./deps.ts";
import { each } from "./each.ts";
import { subjectOf } from "./events.ts";
import { clearLeftovers, type Leftovers, leftoversOf } from "./free.ts";
import { namingsOf } from "./give.ts";
import { cachedLedgers, type Ledger, readLedgers, writeLedger } from "./ledgers.ts";
import { viewsOf } from "./node-view.ts";
import { readNode } from "./read-node.ts";

/** Of fewer nodes or blocks than this, any number may go at once. */
const manyMin = 50;
/** How long many must have been gone before they are believed to be. */
export const massSettleMs = 30_000;

/** Uids of Nodes remembered as gone; the oldest is forgotten first, which costs a pass and no more. */
const goneMax = 16_384;

export interface Sweep {
  /** One pass. */
  sync(signal: AbortSignal): Promise<void>;
}

/** Starts the loop. */
export function startSweep(deps: ControllerDeps, signal: AbortSignal, onPass?: (pass: LoopPass) => void): Loop {
  const sweep = createSweep(deps);
  return startLoop({
    name: "sweep",
    sync: (passSignal) => sweep.sync(passSignal),
    minMs: 500,
    retryMs: 1000,
    retryMaxMs: 60_000,
    maxMs: 40_000,
    signal,
    ...(onPass === undefined ? {} : { onPass }),
  });
}

/** Something that an agent has made for its node. */
interface Belonging {
  kind: Kind<KubeObject>;
  object: KubeObject;
  nodeUid: string;
}

/** Makes the sweep; it remembers between passes what it has seen doomed. */
export function createSweep(deps: ControllerDeps): Sweep {
  const braked = (): Brake => createBrake({ settleMs: massSettleMs, manyMin, clock: deps.uptime });
  const objects = braked();
  const blocks = new Map(deps.config.ranges.map(({ cidr }) => [cidr, braked()]));
  /** Nodes that were gone when their NodeNetwork was removed: whatever of that uid comes later can no more be given a status. */
  const gone = new Set<string>();
  return {
    sync: async (signal) => {
      const { nodes: nodeCache, networks, endpoints } = deps.caches;
      if (![nodeCache, networks, endpoints].every((cache) => cache.synced())) return; // never remove before all is known
      await removeBelongings(deps, { brake: objects, gone }, signal);
      await freeBlocks(deps, { brakes: blocks, gone }, signal);
    },
  };
}

async function removeBelongings(
  deps: ControllerDeps,
  { brake, gone }: { brake: Brake; gone: Set<string> },
  signal: AbortSignal,
): Promise<void> {
  const { caches, events } = deps;
  const networks = caches.networks
    .all()
    .map((object): Belonging => ({ kind: nodeNetworks, object, nodeUid: object.spec.nodeUid }));
  const endpoints = caches.endpoints
    .all()
    .map((object): Belonging => ({ kind: nodeEndpoints, object, nodeUid: object.nodeUid }));
  const all = [...networks, ...endpoints];
  const doomed = all.filter(
    ({ object: { metadata }, nodeUid }) =>
      metadata.deletionTimestamp === undefined && caches.nodes.get({ name: metadata.name })?.metadata.uid !== nodeUid,
  );
  const key = ({ kind, object: { metadata } }: Belonging): string => `${kind.kind}/${metadata.name}`;
  const admitted = brake.allow(doomed.map(key), all.length);
  const [first] = doomed;
  if (first !== undefined && admitted.size < doomed.length) {
    const message = `${doomed.length} of ${all.length} objects of nodes have lost their Node at once; they are removed only if that is seen again`;
    await events.warn(subjectOf(first.kind, first.object.metadata), "MassRemovalWaits", message, signal);
  }
  await each(
    doomed.filter((one) => admitted.has(key(one))),
    signal,
    (one) => removeOne(deps, one, gone, signal),
  );
}

async function removeOne(
  deps: ControllerDeps,
  { kind, object: { metadata }, nodeUid }: Belonging,
  gone: Set<string>,
  signal: AbortSignal,
): Promise<void> {
  const { name, uid, resourceVersion } = metadata;
  if (uid === undefined || resourceVersion === undefined) return; // every object of a server has both
  // The cache may be old: the newest word counts, and the object must be the one that was seen.
  if ((await readNode(deps.kube, { name, uid: nodeUid }, signal)) !== undefined) return;
  try {
    await deps.kube.remove(kind, { name }, { uid, resourceVersion, signal });
  } catch (error) {
    if (isFault(error, "kube-conflict")) return; // its agent wrote meanwhile: the watch tells
    throw error;
  }
  if (kind === nodeNetworks) remember(gone, nodeUid);
  deps.log.info({ object: `${kind.kind}/${name}`, nodeUid }, "removed what a node has left behind");
}

function remember(gone: Set<string>, uid: string): void {
  gone.add(uid);
  dropOldest(gone, goneMax);
}

/**
 * Frees blocks that nobody has. The order of the reads is the proof: the ledger, then all Nodes, then all NodeNetworks. Whoever was given a
 * block was promised it in that ledger or names it in those lists; and what was promised later is in a newer ledger, so that the
 * write here fails.
 */
async function freeBlocks(
  deps: ControllerDeps,
  { brakes, gone }: { brakes: ReadonlyMap<Cidr, Brake>; gone: ReadonlySet<string> },
  signal: AbortSignal,
): Promise<void> {
  const { caches, kube, log } = deps;
  const known = cachedLedgers(caches.ledgers, deps);
  if (known === undefined) return;
  const cachedViews = viewsOf(caches.nodes.all(), caches.networks.all());
  const cachedNamings = namingsOf(cachedViews, caches.networks.all());
  const nothingLeft = known.every(({ book }) => isEmpty(leftoversOf(book, cachedViews, cachedNamings)));
  if (nothingLeft) return wantNothing(brakes);

  const ledgers = await readLedgers(deps, signal);
  const { items: allNodes } = await kube.list(nodes, { signal });
  const { items: allNetworks } = await kube.list(nodeNetworks, { signal });
  const alive = new Map(allNodes.map(({ metadata }) => [metadata.name, metadata.uid]));
  // A write of its status may be on the way to a NodeNetwork without its Node, until that NodeNetwork has been removed or changed.
  const unsure = allNetworks.find(
    ({ metadata: { name, deletionTimestamp }, spec: { nodeUid } }) =>
      alive.get(name) !== nodeUid && deletionTimestamp === undefined && !gone.has(nodeUid),
  );
  if (unsure !== undefined) {
    log.debug({ object: `NodeNetwork/${unsure.metadata.name}` }, "its Node is gone: blocks are freed after it");
    return wantNothing(brakes);
  }
  const views = viewsOf(allNodes, allNetworks);
  const namings = namingsOf(views, allNetworks);
  for (const ledger of ledgers) {
    const left = leftoversOf(ledger.book, views, namings);
    const brake = present(brakes.get(ledger.book.range), `a brake of ${ledger.book.range}`);
    await freeOf(deps, { ledger, left, brake }, signal);
  }
}

/** A look in which no block is to be freed: one that is in a later look has been wanted since then, and not since the last time. */
function wantNothing(brakes: ReadonlyMap<Cidr, Brake>): void {
  for (const brake of brakes.values()) brake.allow([], 0);
}

async function freeOf(
  deps: ControllerDeps,
  { ledger, left, brake }: { ledger: Ledger; left: Leftovers; brake: Brake },
  signal: AbortSignal,
): Promise<void> {
  const { book, object } = ledger;
  const name = (block: number): string => blockCidr(book, block);
  const admitted = brake.allow(left.unowned.map(name), givenBlocks(book).length);
  const unowned = left.unowned.filter((block) => admitted.has(name(block)));
  if (unowned.length < left.unowned.length) {
    const { uid = "", name: objectName } = object.metadata;
    const message = `${left.unowned.length} of ${givenBlocks(book).length} given blocks have lost their nodes at once; they are freed only if that is seen again`;
    const subject = { kind: "BlockLedger", apiVersion: `${ourGroup}/${ourVersion}`, name: objectName, uid };
    await deps.events.warn(subject, "MassRemovalWaits", message, signal);
  }
  if (unowned.length === 0 && left.broken.length === 0) return;
  clearLeftovers(book, { broken: left.broken, unowned });
  await writeLedger(deps, ledger, signal);
  deps.log.info({ ledger: object.metadata.name, blocks: unowned.map(name) }, "freed the blocks of nodes that are gone");
}

const isEmpty = ({ broken, unowned }: Leftovers): boolean => broken.length === 0 && unowned.length === 0;
