// Choosing addresses: oldest block first, next-fit inside it, so that a released address rests longest before it is given again.

import { Fault } from "../base/fault.ts";
import { type Cidr, cidrFamily, offsetOf } from "../net/cidr.ts";
import { type Ip, ipFamily } from "../net/ip.ts";
import { isUsable, nextOffset, usableAddresses, usableAt } from "./blocks.ts";
import type { Blocks } from "./store.ts";

/** The addresses of one node: pure state, owned by the pool that persists it. */
export interface LeaseBook {
  blocks: Blocks;
  leased: Set<Ip>;
  /** Address to the wall-clock time in ms at which it may be freed. */
  cooling: Map<Ip, number>;
  /** Per block: the offset given last. */
  cursors: Map<Cidr, bigint>;
}

export interface FamilyUsage {
  family: 4 | 6;
  /** Usable addresses of all blocks of the family. */
  total: bigint;
  live: number;
  cooling: number;
}

/** A book with nothing leased. */
export function emptyBook(blocks: Blocks): LeaseBook {
  return { blocks, leased: new Set(), cooling: new Map(), cursors: new Map() };
}

/** Which families the blocks can serve, IPv4 first. */
export function familiesOf(blocks: Blocks): (4 | 6)[] {
  return ([4, 6] as const).filter((family) => blocks.some((block) => cidrFamily(block) === family));
}

/**
 * The next free address of `family`; the book is unchanged until `lease`.
 * @throws Fault "pool-empty" that says how many are in use, how many cool and when the next one is free.
 */
export function chooseAddress(book: LeaseBook, family: 4 | 6, nowMs: number): Ip {
  for (const block of book.blocks) {
    if (cidrFamily(block) !== family) continue;
    const address = nextFree(book, block);
    if (address !== undefined) return address;
  }
  throw poolEmpty(book, family, nowMs);
}

function nextFree(book: LeaseBook, block: Cidr): Ip | undefined {
  const { count } = usableAddresses(block);
  // Among one more candidate than there are taken addresses, one is free: IPv6 blocks need no longer search.
  const taken = BigInt(book.leased.size + book.cooling.size);
  const tries = taken + 1n < count ? taken + 1n : count;
  let offset = book.cursors.get(block) ?? -1n;
  for (let step = 0n; step < tries; step += 1n) {
    offset = nextOffset(block, offset);
    const address = usableAt(block, offset);
    if (!book.leased.has(address) && !book.cooling.has(address)) return address;
  }
  return undefined;
}

/** Marks a free address as given, and moves its block's cursor there. @throws Fault "store-failed" where it is not free: no address is ever given twice. */
export function lease(book: LeaseBook, address: Ip): void {
  if (book.leased.has(address) || book.cooling.has(address)) {
    throw new Fault("store-failed", `address ${address} is ${book.leased.has(address) ? "leased" : "cooling"} already`);
  }
  book.leased.add(address);
  const block = book.blocks.find((candidate) => isUsable(candidate, address));
  if (block !== undefined) book.cursors.set(block, offsetOf(block, address));
}

/** Ends a lease: the address cools until `untilMs`, or is free at once where that is absent. */
export function unlease(book: LeaseBook, address: Ip, untilMs?: number): void {
  book.leased.delete(address);
  if (untilMs !== undefined) book.cooling.set(address, untilMs);
}

/** Addresses whose cooling has ended. */
export function cooled(book: LeaseBook, nowMs: number): Ip[] {
  return [...book.cooling].flatMap(([address, untilMs]) => (untilMs <= nowMs ? [address] : []));
}

/** How far the blocks of each family are used. */
export function usage(book: LeaseBook): FamilyUsage[] {
  const count = (addresses: Iterable<Ip>, family: 4 | 6): number => {
    let found = 0;
    for (const address of addresses) if (ipFamily(address) === family) found += 1;
    return found;
  };
  return familiesOf(book.blocks).map((family) => ({
    family,
    total: book.blocks
      .filter((block) => cidrFamily(block) === family)
      .reduce((sum, block) => sum + usableAddresses(block).count, 0n),
    live: count(book.leased, family),
    cooling: count(book.cooling.keys(), family),
  }));
}

/** When the next cooling address of `family` ends, in ms from now; undefined where none cools. */
export function nextCooledInMs(book: LeaseBook, family: 4 | 6, nowMs: number): number | undefined {
  let nextMs: number | undefined;
  for (const [address, untilMs] of book.cooling) {
    if (ipFamily(address) === family && (nextMs === undefined || untilMs < nextMs)) nextMs = untilMs;
  }
  return nextMs === undefined ? undefined : Math.max(0, nextMs - nowMs);
}

function poolEmpty(book: LeaseBook, family: 4 | 6, nowMs: number): Fault {
  const blocks = book.blocks.filter((block) => cidrFamily(block) === family);
  if (blocks.length === 0)
    return new Fault("pool-empty", `this node has no IPv${family} block; add one to addresses.blocks`);
  const used = usage(book).find((row) => row.family === family);
  const nextMs = nextCooledInMs(book, family, nowMs);
  const next = nextMs === undefined ? "" : `, next free in ${Math.ceil(nextMs / 1000)} s`;
  return new Fault(
    "pool-empty",
    `no free IPv${family} address on this node: ${used?.live ?? 0} in use, ${used?.cooling ?? 0} cooling${next} (${blocks.join(", ")})`,
    { data: { family, live: used?.live, cooling: used?.cooling, nextFreeMs: nextMs } },
  );
}
