// The sets that compiled layers look into: their names, the members of each, and blocks merged with their exceptions cut out.

import { hash } from "node:crypto";
import type { Cidr } from "../net/cidr.ts";
import { cidrFamily } from "../net/cidr.ts";
import { ipFamily } from "../net/ip.ts";
import { cutSpans, isWhole, joinSpans, type Span, spanOf, spansToCidrs } from "../net/spans.ts";
import type { Member, MembershipKey, Peer } from "./model.ts";
import type { BlockSet, MemberElement, MemberSet } from "./ruleset.ts";

export const families = [4, 6] as const;

/** A set of members without what it holds. */
export type MemberSetKind = Omit<MemberSet, "parts">;

/** Hexadecimal digits of a hash in a name, as a MembershipKey has them. */
const hashLenDigits = 20;

/** A name for `content`, which must be plain JSON in one order: equal content has equal names. */
export function contentName(prefix: string, content: unknown): string {
  return `${prefix}_${hashOf(content)}`;
}

function hashOf(content: unknown): string {
  return hash("sha256", JSON.stringify(content)).slice(0, hashLenDigits);
}

/** The set of a membership's addresses in one family, or of what its members call `portName`. */
export function memberSetKind(
  membership: MembershipKey,
  family: 4 | 6,
  port?: { protocol: number; portName: string },
): MemberSetKind {
  const name = `m${family}_${membership}`;
  if (port === undefined) return { name, membership, family };
  const { protocol, portName } = port;
  // Hashed, since nothing here says how long a port's name is, or what is in it.
  return { name: `${name}_${hashOf([protocol, portName])}`, membership, family, portName, protocol };
}

/** The elements of such a set that some members are, each once, in their order. */
export function elementsOf({ family, portName, protocol }: MemberSetKind, members: readonly Member[]): MemberElement[] {
  const elements = new Map<string, MemberElement>();
  for (const { address, ports } of members) {
    if (ipFamily(address) !== family) continue;
    if (portName === undefined) {
      elements.set(address, { address });
      continue;
    }
    for (const named of ports) {
      if (named.name !== portName || named.protocol !== protocol) continue;
      elements.set(elementKey({ address, ...named }), { address, protocol, port: named.port });
    }
  }
  return [...elements.values()];
}

/** How much of a ruleset's room a set takes. What stands in two parts counts twice: it mostly does not. */
export function addressesOf({ parts }: Pick<MemberSet, "parts">): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

/** What parts of a set hold together, each element once. */
export function uniqueElements(parts: MemberSet["parts"]): MemberElement[] {
  return [...new Map(parts.flat().map((element) => [elementKey(element), element])).values()];
}

/** Two elements of one set are the same where their keys are. */
export function elementKey({ address, protocol, port }: MemberElement): string {
  return port === undefined ? address : `${address} ${protocol} ${port}`;
}

/** The addresses of one family, as joined spans. */
export type Blocks = Readonly<Record<4 | 6, readonly Span[]>>;

/** What the blocks among `peers` allow: an exception is cut out of its own block only. */
export function blocksOf(peers: readonly Peer[]): Blocks {
  const spansOf = (family: 4 | 6): Span[] =>
    peers.flatMap((peer) => {
      if (!("block" in peer) || cidrFamily(peer.block) !== family) return [];
      const holes = peer.except.filter((network) => cidrFamily(network) === family);
      return cutSpans(spanOf(peer.block), holes.map(spanOf));
    });
  return { 4: joinSpans(spansOf(4)), 6: joinSpans(spansOf(6)) };
}

export function joinBlocks(all: readonly Blocks[]): Blocks {
  return { 4: joinSpans(all.flatMap((blocks) => blocks[4])), 6: joinSpans(all.flatMap((blocks) => blocks[6])) };
}

/** True where the blocks are every address of the family. */
export function coversFamily(blocks: Blocks, family: 4 | 6): boolean {
  return isWhole(family, blocks[family]);
}

export function blockSet(family: 4 | 6, spans: readonly Span[]): BlockSet {
  const blocks: Cidr[] = spansToCidrs(family, spans);
  return { name: contentName(`b${family}`, blocks), family, blocks };
}
