// Which block of a range belongs to a node: a bitmap and a cursor over one range that is cut into blocks of one size. Pure.

import { assert } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import { type Cidr, addressAt, cidrBase, cidrFamily, cidrOf, cidrPrefix, cidrsOverlap, offsetOf } from "../net/cidr.ts";
import { addressBits } from "../net/ip.ts";

/** Blocks of one range: what a ledger's bitmap has room for. */
export const blocksOfRangeMax = 65_536;

/** A block that was taken for a node which may not have been told yet. */
export interface PendingBlock {
  block: number;
  node: string;
  /** Of the Node object: a namesake that comes later is another node. */
  nodeUid: string;
}

/** One range and who has what of it. Blocks are named by their number, from 0. */
export interface BlockBook {
  readonly range: Cidr;
  readonly blockPrefix: number;
  /** Blocks of the range. */
  readonly count: number;
  /** Given or never given; bit 0 of the range is the highest bit of the first byte. */
  readonly used: Uint8Array;
  /** Those that a service range has a part of: never given, never freed. Always set in `used` too. */
  readonly service: Uint8Array;
  /** Where the next search begins. */
  cursor: number;
  pending: PendingBlock[];
}

/** A book as the ledger object carries it. */
export interface BookFields {
  range: Cidr;
  blockPrefix: number;
  /** Base64 of `used`. */
  used: string;
  cursor: number;
  pending: PendingBlock[];
}

/** The usual size of a node's block: 254 pods in IPv4, and what every IPv6 network has. */
export function blockPrefixDefault(range: Cidr): 24 | 64 {
  return cidrFamily(range) === 4 ? 24 : 64;
}

/** Says why `range` cannot be cut into blocks of that prefix length; undefined where it can. */
export function blockSizeProblem(range: Cidr, blockPrefix: number): string | undefined {
  const bits = addressBits(cidrFamily(range));
  if (blockPrefix < cidrPrefix(range))
    return `blocks of /${blockPrefix} are larger than the range ${range}; take a longer prefix`;
  if (blockPrefix > bits) return `a network of IPv${cidrFamily(range)} has at most ${bits} bits, not ${blockPrefix}`;
  const count = 2 ** (blockPrefix - cidrPrefix(range));
  return count <= blocksOfRangeMax
    ? undefined
    : `${range} gives ${count} blocks of /${blockPrefix}, and at most ${blocksOfRangeMax} are possible; take larger blocks or a smaller range`;
}

/** A book in which nothing is given but what `serviceRanges` have a part of. `range` and prefix must fit (`blockSizeProblem`). */
export function emptyBook(range: Cidr, blockPrefix: number, serviceRanges: readonly Cidr[]): BlockBook {
  const problem = blockSizeProblem(range, blockPrefix);
  assert(problem === undefined, problem ?? "");
  const count = 2 ** (blockPrefix - cidrPrefix(range));
  const bytes = Math.ceil(count / 8);
  const book: BlockBook = {
    range,
    blockPrefix,
    count,
    used: new Uint8Array(bytes),
    service: new Uint8Array(bytes),
    cursor: 0,
    pending: [],
  };
  for (const serviceRange of serviceRanges) {
    for (const block of blocksOf(placeOf(book, serviceRange))) setBit(book.service, block, true);
  }
  book.used.set(book.service);
  return book;
}

/**
 * Reads a ledger's fields. Blocks of service ranges that are new since it was written are added.
 * @throws Fault "store-failed" where the fields contradict themselves
 */
export function decodeBook(fields: BookFields, serviceRanges: readonly Cidr[]): BlockBook {
  const { range, blockPrefix, used, cursor, pending } = fields;
  const refuse = (what: string): never => {
    throw new Fault("store-failed", `the ledger of ${range} cannot be read: ${what}`);
  };
  const problem = blockSizeProblem(range, blockPrefix);
  if (problem !== undefined) return refuse(problem);
  const book = emptyBook(range, blockPrefix, serviceRanges);
  const bytes = Buffer.from(used, "base64");
  if (bytes.length !== book.used.length || bytes.toString("base64") !== used)
    return refuse(`its bitmap must be base64 of ${book.used.length} bytes`);
  for (let at = 0; at < bytes.length; at += 1) book.used[at] = (book.used[at] ?? 0) | (bytes[at] ?? 0);
  if (cursor >= book.count) return refuse(`its cursor ${cursor} is beyond the last of ${book.count} blocks`);
  book.cursor = cursor;
  for (const entry of pending) {
    if (entry.block >= book.count || !hasBit(bytes, entry.block))
      return refuse(`block ${entry.block} waits for ${entry.node} and is not marked as given`);
    book.pending.push({ ...entry });
  }
  return book;
}

/** The fields that `decodeBook` reads again. */
export function encodeBook({ range, blockPrefix, used, cursor, pending }: BlockBook): BookFields {
  return {
    range,
    blockPrefix,
    used: Buffer.from(used).toString("base64"),
    cursor,
    pending: pending.map((entry) => ({ ...entry })),
  };
}

/**
 * Takes the next free block after the one that was taken last, so that a freed block rests as long as it can; undefined where
 * none is free.
 */
export function takeBlock(book: BlockBook): number | undefined {
  for (let step = 0; step < book.count;) {
    const block = (book.cursor + step) % book.count;
    if (block % 8 === 0 && book.used[block / 8] === 0xff) {
      step += 8; // eight at once: a full range of 65,536 costs 8,192 looks
      continue;
    }
    if (!hasBit(book.used, block)) {
      setBit(book.used, block, true);
      book.cursor = (block + 1) % book.count;
      return block;
    }
    step += 1;
  }
  return undefined;
}

/** Where a network lies: it is a block, or is of another size and touches the blocks `first` to `last`, or lies outside the range. */
export type Place =
  | { kind: "block"; block: number }
  | { kind: "misfit"; first: number; last: number }
  | { kind: "outside" };

export function placeOf({ range, blockPrefix, count }: BlockBook, cidr: Cidr): Place {
  if (!cidrsOverlap(range, cidr)) return { kind: "outside" };
  const prefix = cidrPrefix(cidr);
  if (prefix < cidrPrefix(range)) return { kind: "misfit", first: 0, last: count - 1 };
  const hostBits = BigInt(addressBits(cidrFamily(range)) - blockPrefix);
  const first = Number(offsetOf(range, cidrBase(cidr)) >> hostBits);
  if (prefix === blockPrefix) return { kind: "block", block: first };
  return { kind: "misfit", first, last: first + (prefix > blockPrefix ? 0 : 2 ** (blockPrefix - prefix) - 1) };
}

/** The blocks that a place touches. */
export function blocksOf(place: Place): number[] {
  if (place.kind === "outside") return [];
  if (place.kind === "block") return [place.block];
  return Array.from({ length: place.last - place.first + 1 }, (_, at) => place.first + at);
}

/** Marks a block as given; true where it was not. */
export function markBlock(book: BlockBook, block: number): boolean {
  assert(block >= 0 && block < book.count, `block ${block} is one of ${book.count}`);
  if (hasBit(book.used, block)) return false;
  setBit(book.used, block, true);
  return true;
}

/** Gives a block back, to be given again when the cursor comes round; a block of a service range stays. True where that changed something. */
export function freeBlock(book: BlockBook, block: number): boolean {
  if (!isUsed(book, block) || hasBit(book.service, block)) return false;
  setBit(book.used, block, false);
  return true;
}

/** True where the block is given, or never given. */
export function isUsed(book: BlockBook, block: number): boolean {
  assert(block >= 0 && block < book.count, `block ${block} is one of ${book.count}`);
  return hasBit(book.used, block);
}

/** True where a service range has a part of the block. */
export function isServiceBlock({ service }: BlockBook, block: number): boolean {
  return hasBit(service, block);
}

/** The blocks that are given to somebody: used, and of no service range. */
export function givenBlocks({ used, service, count }: BlockBook): number[] {
  const given: number[] = [];
  for (let block = 0; block < count; block += 1) {
    if (used[block >> 3] === 0) block |= 7;
    else if (hasBit(used, block) && !hasBit(service, block)) given.push(block);
  }
  return given;
}

/** The network of a block. */
export function blockCidr({ range, blockPrefix, count }: BlockBook, block: number): Cidr {
  assert(block >= 0 && block < count, `block ${block} is one of ${count}`);
  const hostBits = BigInt(addressBits(cidrFamily(range)) - blockPrefix);
  return cidrOf(addressAt(range, BigInt(block) << hostBits), blockPrefix);
}

export interface BookUsage {
  total: number;
  /** Those that a service range has a part of. */
  service: number;
  given: number;
  free: number;
  pending: number;
}

export function bookUsage({ used, service, count, pending }: BlockBook): BookUsage {
  const [usedCount, serviceCount] = [countBits(used), countBits(service)];
  return {
    total: count,
    service: serviceCount,
    given: usedCount - serviceCount,
    free: count - usedCount,
    pending: pending.length,
  };
}

const mask = (block: number): number => 0x80 >> (block & 7);

function hasBit(bits: Uint8Array, block: number): boolean {
  return ((bits[block >> 3] ?? 0) & mask(block)) !== 0;
}

function setBit(bits: Uint8Array, block: number, on: boolean): void {
  const byte = bits[block >> 3] ?? 0;
  bits[block >> 3] = on ? byte | mask(block) : byte & ~mask(block);
}

function countBits(bits: Uint8Array): number {
  let count = 0;
  for (let byte of bits) for (; byte !== 0; byte &= byte - 1) count += 1;
  return count;
}
