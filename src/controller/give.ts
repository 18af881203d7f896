// Which blocks are taken for which nodes: one pass over the ledgers' books, which it changes in memory. Pure.

import { type BlockBook, blockCidr, blocksOf, bookUsage, markBlock, placeOf, takeBlock } from "../ipam/node-blocks.ts";
import { ledgerPendingMax, type NodeNetwork } from "../kube/objects.ts";
import type { Cidr } from "../net/cidr.ts";
import { heldBlocks, type NodeView } from "./node-view.ts";

export interface Gifts {
  /** What nodes without podCIDRs get, by uid: to be written on them once the books are on the server. */
  given: Map<string, Cidr[]>;
  /** Nodes that go without because a range is full: by uid, the range. */
  full: Map<string, Cidr>;
  /** The books that have changed. */
  changed: Set<BlockBook>;
}

/** A network and the name of the Node or NodeNetwork that names it. */
export interface Naming {
  name: string;
  cidr: Cidr;
}

/** All networks that Nodes and NodeNetworks name. */
export function namingsOf(views: readonly NodeView[], networks: readonly NodeNetwork[]): Naming[] {
  return [
    ...views.flatMap(({ name, podCidrs }) => podCidrs.map((cidr) => ({ name, cidr }))),
    ...networks.flatMap(({ metadata: { name }, status }) => status?.blocks.map(({ cidr }) => ({ name, cidr })) ?? []),
  ];
}

/**
 * Brings the books up to what nodes have, and takes blocks for those that have none.
 * Whatever a Node or a NodeNetwork names is marked first, so that it cannot be given again; then those promises end whose Node
 * names the block; then each Node without podCIDRs gets one block of every range or, where one is full, of none.
 * Nothing is freed here. `give: false` takes nothing.
 */
export function planGifts(
  books: readonly BlockBook[],
  views: readonly NodeView[],
  namings: readonly Naming[],
  { give }: { give: boolean },
): Gifts {
  const gifts: Gifts = { given: new Map(), full: new Map(), changed: new Set() };
  for (const book of books) {
    const adopted = adopt(book, namings);
    if (endPromises(book, views) || adopted) gifts.changed.add(book);
  }
  if (give) giveAll(books, views, namings, gifts);
  return gifts;
}

/** Marks the blocks that are named. True where that changed the book. */
export function adopt(book: BlockBook, namings: readonly Naming[]): boolean {
  let changed = false;
  for (const { cidr } of namings)
    for (const block of blocksOf(placeOf(book, cidr))) changed = markBlock(book, block) || changed;
  return changed;
}

/**
 * A promise ends here when its Node names the block, and nowhere but in the sweep otherwise: while the Node lives and has no podCIDRs,
 * a write that was begun long ago may still give it the block.
 */
function endPromises(book: BlockBook, views: readonly NodeView[]): boolean {
  if (book.pending.length === 0) return false;
  const byUid = new Map(views.map((view) => [view.uid, view]));
  const open = book.pending.filter(
    ({ block, nodeUid }) => byUid.get(nodeUid)?.podCidrs.includes(blockCidr(book, block)) !== true,
  );
  const changed = open.length < book.pending.length;
  book.pending = open;
  return changed;
}

/** A book while blocks are taken from it. */
interface Shelf {
  book: BlockBook;
  /** By node uid: the block that was taken for it and that nobody else names. */
  promised: Map<string, number>;
  free: number;
}

function giveAll(
  books: readonly BlockBook[],
  views: readonly NodeView[],
  namings: readonly Naming[],
  { given, full, changed }: Gifts,
): void {
  const shelves = books.map((book): Shelf => {
    const promised = promisesOf(book, namings);
    return { book, promised, free: bookUsage(book).free };
  });
  const waiting = views.filter(
    ({ podCidrs, malformed, leaving }) => podCidrs.length === 0 && malformed === undefined && !leaving,
  );
  for (const view of waiting.sort(byAge)) {
    const held = heldBlocks(view);
    for (const shelf of shelves) promiseHeld(shelf, view, held, changed);
    const lacking = held.length > 0 ? [] : shelves.filter(({ promised }) => !promised.has(view.uid));
    const empty = lacking.find(({ free }) => free === 0);
    if (empty !== undefined) {
      full.set(view.uid, empty.book.range);
      continue;
    }
    // A later pass gives the rest, when nodes have what is promised.
    if (lacking.some(({ book }) => book.pending.length >= ledgerPendingMax)) continue;
    for (const shelf of lacking) {
      const block = takeBlock(shelf.book);
      if (block === undefined) continue; // `free` said that there is one
      shelf.free -= 1;
      promise(shelf, view, block, changed);
    }
    given.set(view.uid, held.length > 0 ? held : shelves.flatMap((shelf) => promisedCidr(shelf, view)));
  }
}

/** The oldest first. */
function byAge(a: NodeView, b: NodeView): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.name < b.name ? -1 : 1;
}

function promisesOf(book: BlockBook, namings: readonly Naming[]): Map<string, number> {
  if (book.pending.length === 0) return new Map();
  const named = new Map<number, Set<string>>();
  for (const { name, cidr } of namings)
    for (const block of blocksOf(placeOf(book, cidr))) named.set(block, (named.get(block) ?? new Set()).add(name));
  const own = book.pending.filter(({ block, node }) => [...(named.get(block) ?? [])].every((name) => name === node));
  return new Map(own.map(({ nodeUid, block }) => [nodeUid, block]));
}

function promise({ book, promised }: Shelf, { name, uid }: NodeView, block: number, changed: Set<BlockBook>): void {
  book.pending.push({ block, node: name, nodeUid: uid });
  promised.set(uid, block);
  changed.add(book);
}

/** What all nodes have been told already, and only the Node itself has lost, is promised to it again. */
function promiseHeld(shelf: Shelf, view: NodeView, held: readonly Cidr[], changed: Set<BlockBook>): void {
  for (const cidr of held) {
    const place = placeOf(shelf.book, cidr);
    if (place.kind !== "block" || shelf.promised.get(view.uid) === place.block) continue;
    if (shelf.book.pending.length < ledgerPendingMax) promise(shelf, view, place.block, changed);
  }
}

function promisedCidr({ book, promised }: Shelf, { uid }: NodeView): Cidr[] {
  const block = promised.get(uid);
  return block === undefined ? [] : [blockCidr(book, block)];
}
