// Choosing addresses: oldest block first, next-fit inside it, so that a released address rests longest before it is given again.

import { Fault } from "../base/fault.ts";
import { createAddressTally } from "../net/address-tally.ts";
import { type Cidr, cidrContains, cidrFamily, offsetOf } from "../net/cidr.ts";
import { type Ip, ipFamily } from "../net/ip.ts";
import { isUsable, nextOffset, unusableOf, usableAddresses, usableAt } from "./blocks.ts";
import type { Blocks } from "./store.ts";

/** The addresses of one node: pure state, owned by the pool that persists it. */
export interface LeaseBook {
  blocks: Blocks;
  leased: Set<Ip>;
  /** Address to the time in ms since boot at which it may be freed. */
  cooling: Map<Ip, number>;
  /** Per block: the offset given last. */
  cursors: Map<Cidr, bigint>;
  /** Addresses that somebody still takes for a pod's that has gone. */
  withheld: Withheld;
}

/** Addresses that are not given, whoever holds them or not. */
export interface Withheld {
  has(address: Ip): boolean;
  /** Those in these blocks, each once, but where it could be any address. It is asked for often: it must not look at all of them. */
  within(blocks: Blocks): Iterable<Ip>;
  /** No more than these; it bounds a search. */
  readonly size: number;
  /** Nobody knows yet which ones they are. */
  readonly isAny?: boolean;
  /** Whoever asks for one of them by name gets it: it is listed for that pod. */
  readonly mayBeAsked?: boolean;
  /** Who lists them, and what is to be done. */
  readonly why?: string;
}

export interface FamilyUsage {
  family: 4 | 6;
  /** Usable addresses of all blocks of the family. */
  total: bigint;
  live: number;
  cooling: number;
  /** Neither in use nor cooling, and given to nobody all the same. */
  withheld: number;
  /** Can be given now. */
  free: bigint;
  /** Why they are withheld, and what is to be done. */
  why: string;
}

/** A book with nothing leased, and nothing withheld. */
export function emptyBook(blocks: Blocks): LeaseBook {
  return { blocks, leased: new Set(), cooling: new Map(), cursors: new Map(), withheld: createAddressTally() };
}

/** Changes the blocks; leases and cooling addresses stay, and the search in a new block goes on behind what is leased of it. */
export function moveTo(book: LeaseBook, blocks: Blocks): void {
  book.blocks = blocks;
  for (const block of book.cursors.keys()) if (!blocks.includes(block)) book.cursors.delete(block);
  for (const address of book.leased) {
    const block = blocks.find((candidate) => isUsable(candidate, address));
    if (block !== undefined && !book.cursors.has(block)) book.cursors.set(block, offsetOf(block, address));
  }
}

/** Which families the blocks can serve, IPv4 first. */
export function familiesOf(blocks: Blocks): (4 | 6)[] {
  return ([4, 6] as const).filter((family) => blocks.some((block) => cidrFamily(block) === family));
}

/** What is asked for: certain addresses, at most one of a family, or any out of certain ranges. */
export interface Wanted {
  addresses: readonly Ip[];
  /** For messages: where each was asked for, and in which words; so in `ranges`. */
  asked?: readonly string[];
  /** Families without a range are free to choose. Both ends are included. */
  ranges: readonly { first: Ip; last: Ip; asked?: string }[];
}

/**
 * One address of every family that the blocks serve, as wanted; the book is unchanged until `lease`.
 * @throws Fault "pool-empty" that says how many are in use, how many cool and when the next one is free; "address-taken" where
 * a certain one is not free; "unsupported-value" for what lies outside the blocks.
 */
export function chooseAddresses(book: LeaseBook, wanted: Wanted, nowMs: number): Ip[] {
  const families = familiesOf(book.blocks);
  const chosen = families.map((family) => {
    const address = wanted.addresses.find((candidate) => ipFamily(candidate) === family);
    if (address !== undefined) return certain(book, address, wanted, nowMs);
    const ranges = wanted.ranges.filter(({ first }) => ipFamily(first) === family);
    return ranges.length === 0 ? chooseAddress(book, family, nowMs) : within(book, family, ranges, nowMs);
  });
  const stranger = wanted.addresses.find((address) => !families.includes(ipFamily(address)));
  if (stranger !== undefined) throw foreign(book, named(stranger, wanted));
  const strange = wanted.ranges.find(({ first }) => !families.includes(ipFamily(first)));
  if (strange !== undefined) throw foreign(book, rangeName(strange));
  return chosen;
}

/**
 * The next free address of `family`.
 * @throws Fault "pool-empty"
 */
export function chooseAddress(book: LeaseBook, family: 4 | 6, nowMs: number): Ip {
  for (const block of book.blocks) {
    if (cidrFamily(block) !== family) continue;
    const address = nextFree(book, block);
    if (address !== undefined) return address;
  }
  throw poolEmpty(book, family, nowMs);
}

const named = (address: Ip, { addresses, asked }: Wanted): string =>
  asked?.[addresses.indexOf(address)] ?? `the address ${address}`;

const rangeName = ({ first, last, asked }: Wanted["ranges"][number]): string => asked ?? `the range ${first}-${last}`;

function certain(book: LeaseBook, address: Ip, wanted: Wanted, nowMs: number): Ip {
  if (!book.blocks.some((block) => isUsable(block, address))) throw foreign(book, named(address, wanted));
  const isNobodys = !book.leased.has(address) && !book.cooling.has(address);
  if (isFree(book, address) || (isNobodys && book.withheld.mayBeAsked === true)) return address;
  const coolsUntilMs = book.cooling.get(address) ?? 0;
  const isWithheld = isOnlyWithheld(book, address, nowMs);
  const nextFreeMs = book.leased.has(address) || isWithheld ? undefined : Math.max(0, coolsUntilMs - nowMs);
  const coolsFor = `cools for ${Math.ceil((nextFreeMs ?? 0) / 1000)} s more`;
  const why = isWithheld ? `is ${whyOf(book.withheld)}` : nextFreeMs === undefined ? "is in use" : coolsFor;
  throw new Fault("address-taken", `the address ${address} that was asked for ${why}; ask for another, or try later`, {
    data: { address, nextFreeMs },
  });
}

/** The lowest free address: whoever asks for a range wants a place in it, not an even spread. */
function within(book: LeaseBook, family: 4 | 6, ranges: Wanted["ranges"], nowMs: number): Ip {
  for (const range of ranges) {
    const { first, last } = range;
    const block = book.blocks.find((candidate) => cidrContains(candidate, first) && cidrContains(candidate, last));
    if (block === undefined) throw foreign(book, rangeName(range));
    const usable = usableAddresses(block);
    const from = max(offsetOf(block, first), usable.first);
    const to = min(offsetOf(block, last), usable.last);
    // Among one more candidate than there are taken addresses, one is free.
    const end = min(to, from + takenCount(book));
    for (let offset = from; offset <= end; offset += 1n) {
      const address = usableAt(block, offset);
      if (isFree(book, address)) return address;
    }
  }
  throw poolEmpty(book, family, nowMs, ` in ${ranges.map(({ first, last }) => `${first}-${last}`).join(", ")}`);
}

function foreign(book: LeaseBook, what: string): Fault {
  return new Fault("unsupported-value", `${what} is not this node's to give (${book.blocks.join(", ")})`);
}

const isFree = (book: LeaseBook, address: Ip): boolean =>
  !book.leased.has(address) && !book.cooling.has(address) && !book.withheld.has(address);
const takenCount = (book: LeaseBook): bigint => BigInt(book.leased.size + book.cooling.size + book.withheld.size);
const whyOf = ({ why = "somebody takes it for another pod's" }: Withheld): string => `withheld: ${why}`;
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);

function nextFree(book: LeaseBook, block: Cidr): Ip | undefined {
  const { count } = usableAddresses(block);
  // Among one more candidate than there are taken addresses, one is free: IPv6 blocks need no longer search.
  const tries = min(takenCount(book) + 1n, count);
  let offset = book.cursors.get(block) ?? -1n;
  for (let step = 0n; step < tries; step += 1n) {
    offset = nextOffset(block, offset);
    const address = usableAt(block, offset);
    if (isFree(book, address)) return address;
  }
  return undefined;
}

/** Marks a free address as given, and moves its block's cursor there. @throws Fault "store-failed" where it is not free: no address is ever given twice. */
export function lease(book: LeaseBook, address: Ip): void {
  if (book.leased.has(address) || book.cooling.has(address)) {
    throw new Fault(
      "store-failed",
      `address ${address} is ${book.leased.has(address) ? "leased" : "cooling"} already`,
      {
        data: { damaged: true },
      },
    );
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

/** Addresses whose cooling has ended, and which are not withheld. */
export function cooled(book: LeaseBook, nowMs: number): Ip[] {
  const ended = [...book.cooling].filter(([, untilMs]) => untilMs <= nowMs);
  const { withheld } = book;
  return ended.flatMap(([address]) => (withheld.has(address) && withheld.mayBeAsked !== true ? [] : [address]));
}

/** How far the blocks of each family are used. What is withheld for those who ask for it is theirs to have: it is free. */
export function usage(book: LeaseBook, nowMs: number): FamilyUsage[] {
  return familiesOf(book.blocks).map((family) => usageOf(book, family, nowMs));
}

function usageOf(book: LeaseBook, family: 4 | 6, nowMs: number): FamilyUsage {
  const count = (addresses: Iterable<Ip>): number => {
    let found = 0;
    for (const address of addresses) if (ipFamily(address) === family) found += 1;
    return found;
  };
  const blocks = book.blocks.filter((block) => cidrFamily(block) === family);
  const total = blocks.reduce((sum, block) => sum + usableAddresses(block).count, 0n);
  const live = count(book.leased);
  const why = whyOf(book.withheld);
  if (book.withheld.isAny === true) {
    const cooling = count(stillCooling(book, nowMs));
    return { family, total, live, cooling, withheld: Number(max(0n, total - BigInt(live + cooling))), free: 0n, why };
  }
  const held = book.withheld.mayBeAsked === true ? [] : onlyWithheld(book, family, nowMs);
  const withheld = held.length;
  const cooling = count(book.cooling.keys()) - held.filter((address) => book.cooling.has(address)).length;
  return { family, total, live, cooling, withheld, free: max(0n, total - BigInt(live + cooling + withheld)), why };
}

function stillCooling(book: LeaseBook, nowMs: number): Ip[] {
  return [...book.cooling].flatMap(([address, untilMs]) => (untilMs > nowMs ? [address] : []));
}

/** Nothing but that it is withheld keeps it from being given. */
const isOnlyWithheld = (book: LeaseBook, address: Ip, nowMs: number): boolean =>
  !book.leased.has(address) && (book.cooling.get(address) ?? 0) <= nowMs && book.withheld.has(address);

/** When the next cooling address of `family` ends, in ms from now; undefined where none cools. Nobody knows the end of what is withheld. */
export function nextCooledInMs(book: LeaseBook, family: 4 | 6, nowMs: number): number | undefined {
  let nextMs: number | undefined;
  for (const [address, untilMs] of book.cooling) {
    if (ipFamily(address) !== family || (nextMs !== undefined && untilMs >= nextMs)) continue;
    if (!isOnlyWithheld(book, address, nowMs)) nextMs = untilMs;
  }
  return nextMs === undefined ? undefined : Math.max(0, nextMs - nowMs);
}

/** `where` narrows the place down, for a choice among some of the addresses only. */
function poolEmpty(book: LeaseBook, family: 4 | 6, nowMs: number, where = ""): Fault {
  const blocks = book.blocks.filter((block) => cidrFamily(block) === family);
  if (blocks.length === 0) return new Fault("pool-empty", `this node has no IPv${family} block`);
  const used = usageOf(book, family, nowMs);
  const withheld = book.withheld.mayBeAsked === true ? onlyWithheld(book, family, nowMs).length : used.withheld;
  const nextMs = nextCooledInMs(book, family, nowMs);
  const next = nextMs === undefined ? "" : `, next free in ${Math.ceil(nextMs / 1000)} s`;
  const why = withheld === 0 ? "" : `; each of ${withheld} is ${whyOf(book.withheld)}`;
  return new Fault(
    "pool-empty",
    `no free IPv${family} address on this node${where}: ${used.live} in use, ${used.cooling} cooling${next} (${blocks.join(", ")})${why}`,
    { data: { family, live: used.live, cooling: used.cooling, withheld, nextFreeMs: nextMs } },
  );
}

/** Those of a family that are only withheld, whether anybody has had them since the journal began or not. */
function onlyWithheld(book: LeaseBook, family: 4 | 6, nowMs: number): Ip[] {
  const { blocks, withheld } = book;
  const unusable = new Set(blocks.flatMap(unusableOf));
  return [...withheld.within(blocks)].filter(
    (address) => ipFamily(address) === family && isOnlyWithheld(book, address, nowMs) && !unusable.has(address),
  );
}
