// Which blocks of a ledger nobody has any more. Pure; whether the lists it is given are new enough is the sweep's care.

import { type BlockBook, blocksOf, freeBlock, givenBlocks, type PendingBlock, placeOf } from "../ipam/node-blocks.ts";
import type { Naming } from "./give.ts";
import type { NodeView } from "./node-view.ts";

export interface Leftovers {
  /** Promises to nodes that are gone or have other podCIDRs: nobody can write them on a Node any more. */
  broken: PendingBlock[];
  /** Blocks that no Node, no NodeNetwork and no promise has. */
  unowned: number[];
}

/** What of the book is nobody's, where `views` are all Nodes and `namings` all that Nodes and NodeNetworks name. */
export function leftoversOf(book: BlockBook, views: readonly NodeView[], namings: readonly Naming[]): Leftovers {
  const byUid = new Map(views.map((view) => [view.uid, view]));
  const broken = book.pending.filter(({ nodeUid }) => {
    const view = byUid.get(nodeUid);
    return view === undefined || view.podCidrs.length > 0 || view.malformed !== undefined;
  });
  const owned = new Set(book.pending.filter((entry) => !broken.includes(entry)).map(({ block }) => block));
  for (const { cidr } of namings) for (const block of blocksOf(placeOf(book, cidr))) owned.add(block);
  return { broken, unowned: givenBlocks(book).filter((block) => !owned.has(block)) };
}

/** Ends the promises and frees the blocks. */
export function clearLeftovers(book: BlockBook, { broken, unowned }: Leftovers): void {
  const ended = new Set(broken);
  book.pending = book.pending.filter((entry) => !ended.has(entry));
  const promised = new Set(book.pending.map(({ block }) => block));
  for (const block of unowned) if (!promised.has(block)) freeBlock(book, block);
}
