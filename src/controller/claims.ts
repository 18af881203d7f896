// Who claims which network, and who has to stand back where two claims overlap. Pure.

import type { NodeNetwork } from "../kube/objects.ts";
import { type Cidr, cidrBase, cidrFamily, cidrPrefix, cidrsOverlap } from "../net/cidr.ts";
import { ipToNumber } from "../net/ip.ts";
import type { NodeView } from "./node-view.ts";

interface Claim {
  cidr: Cidr;
  /** Of the Node or NodeNetwork: the two of one name never contend. */
  name: string;
  /** Told to all nodes already, by a NodeNetwork. */
  held: boolean;
  createdAt: string;
  uid: string;
}

/** A claim that loses, and the one that stands. */
export interface Overlap {
  cidr: Cidr;
  otherName: string;
  otherCidr: Cidr;
}

/**
 * The nodes, by name, that claim a network which another has the better right to: one that a NodeNetwork tells of already goes
 * before one that only a Node names, then the older Node.
 */
export function overlapsOf(views: readonly NodeView[], networks: readonly NodeNetwork[]): Map<string, Overlap> {
  const losers = new Map<string, Overlap>();
  for (const [a, b] of overlappingPairs(claimsOf(views, networks))) {
    const [winner, loser] = precedes(a, b) ? [a, b] : [b, a];
    if (!losers.has(loser.name))
      losers.set(loser.name, { cidr: loser.cidr, otherName: winner.name, otherCidr: winner.cidr });
  }
  return losers;
}

function claimsOf(views: readonly NodeView[], networks: readonly NodeNetwork[]): Claim[] {
  const claims = new Map<string, Claim>();
  const add = (claim: Claim): void => {
    const key = `${claim.name} ${claim.cidr}`;
    if (!claims.has(key)) claims.set(key, claim);
  };
  const byName = new Map(views.map((view) => [view.name, view]));
  for (const { metadata, status } of networks) {
    const { name } = metadata;
    const view = byName.get(name);
    // A namesake's claim ends with the status that is about to be written over it.
    for (const { cidr } of status?.blocks ?? [])
      add({ cidr, name, held: true, createdAt: view?.createdAt ?? "", uid: status?.nodeUid ?? "" });
  }
  for (const { podCidrs, name, uid, createdAt } of views)
    for (const cidr of podCidrs) add({ cidr, name, held: false, createdAt, uid });
  return [...claims.values()];
}

/** Sorted by first address, networks that overlap lie inside one another: only those that enclose the present one are looked at. */
function* overlappingPairs(claims: Claim[]): Generator<[Claim, Claim]> {
  const sorted = claims
    .map((claim) => ({ claim, base: ipToNumber(cidrBase(claim.cidr)) }))
    .sort((a, b) => {
      const families = cidrFamily(a.claim.cidr) - cidrFamily(b.claim.cidr);
      if (families !== 0) return families;
      if (a.base !== b.base) return a.base < b.base ? -1 : 1;
      return cidrPrefix(a.claim.cidr) - cidrPrefix(b.claim.cidr);
    });
  let enclosing: Claim[] = [];
  for (const { claim } of sorted) {
    enclosing = enclosing.filter(({ cidr }) => cidrsOverlap(cidr, claim.cidr));
    for (const other of enclosing) if (other.name !== claim.name) yield [other, claim];
    enclosing.push(claim);
  }
}

function precedes(a: Claim, b: Claim): boolean {
  if (a.held !== b.held) return a.held;
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt;
  return a.uid < b.uid;
}
