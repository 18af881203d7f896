// Spans of addresses of one family, as numbers: joining networks, cutting some out of others, and back to the fewest networks.

import { type Cidr, cidrAt, cidrBase, cidrSize } from "./cidr.ts";
import { addressBits, ipToNumber } from "./ip.ts";

/** From the first address to the one behind the last; never empty. The family is not in it. */
export interface Span {
  from: bigint;
  end: bigint;
}

export function spanOf(network: Cidr): Span {
  const from = ipToNumber(cidrBase(network));
  return { from, end: from + cidrSize(network) };
}

/** The same addresses in as few spans as can be, in ascending order: those that overlap or touch become one. */
export function joinSpans(spans: readonly Span[]): readonly Span[] {
  if (spans.length < 2) return spans;
  const apart: Span[] = [];
  for (const span of spans.toSorted((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0))) {
    const last = apart.at(-1);
    if (last === undefined || span.from > last.end) apart.push({ ...span });
    else if (span.end > last.end) last.end = span.end;
  }
  return apart;
}

/** What of `span` is in none of `holes`, in ascending order. */
export function cutSpans(span: Span, holes: readonly Span[]): readonly Span[] {
  const left: Span[] = [];
  let { from } = span;
  for (const hole of joinSpans(holes)) {
    if (hole.end <= from) continue;
    if (hole.from >= span.end) break;
    if (hole.from > from) left.push({ from, end: hole.from });
    from = hole.end;
  }
  if (from < span.end) left.push({ from, end: span.end });
  return left;
}

/** The fewest networks that hold exactly the addresses of `spans`, in ascending order. An IPv4-mapped one, which parseCidr refuses, can be among them. */
export function spansToCidrs(family: 4 | 6, spans: readonly Span[]): Cidr[] {
  const bits = addressBits(family);
  const networks: Cidr[] = [];
  for (const { from, end } of joinSpans(spans)) {
    for (let at = from; at < end;) {
      // The largest network that begins here and does not go beyond the end: at most two of each size.
      let hostBits = at === 0n ? bits : trailingZeros(at);
      while (at + (1n << BigInt(hostBits)) > end) hostBits -= 1;
      networks.push(cidrAt(family, at, bits - hostBits));
      at += 1n << BigInt(hostBits);
    }
  }
  return networks;
}

/** True where joined spans are every address of the family. */
export function isWhole(family: 4 | 6, [first, ...others]: readonly Span[]): boolean {
  return (
    first !== undefined && others.length === 0 && first.from === 0n && first.end === 1n << BigInt(addressBits(family))
  );
}

/** How often `value`, which is not zero, can be halved. */
function trailingZeros(value: bigint): number {
  return (value & -value).toString(2).length - 1;
}
