// Whether two layers say the same, so that the one can be what the other has become: much cheaper than to compile it again.

import type { Layer, Peer, PortMatch, Rule } from "./model.ts";

/** True where everything is equal that decides; rules in the same order. */
export function saysTheSame(a: Layer, b: Layer): boolean {
  if (a === b) return true;
  return a.direction === b.direction && a.otherwise === b.otherwise && sameList(a.rules, b.rules, sameRule);
}

function sameRule(a: Rule, b: Rule): boolean {
  return a === b || (sameList(a.ports, b.ports, samePort) && sameList(a.peers, b.peers, samePeer));
}

/** A PortMatch of whichever form. */
interface AnyPort {
  protocol: number;
  first?: number;
  last?: number;
  type?: number;
  code?: number;
  peerPort?: string;
}

function samePort(a: PortMatch, b: PortMatch): boolean {
  const [one, other]: readonly [AnyPort, AnyPort] = [a, b];
  return (
    one.protocol === other.protocol &&
    one.first === other.first &&
    one.last === other.last &&
    one.type === other.type &&
    one.code === other.code &&
    one.peerPort === other.peerPort
  );
}

function samePeer(a: Peer, b: Peer): boolean {
  if ("members" in a) return "members" in b && a.members === b.members;
  return "block" in b && a.block === b.block && sameList(a.except, b.except, (one, other) => one === other);
}

function sameList<T>(a: readonly T[], b: readonly T[], same: (one: T, other: T) => boolean): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (const [index, one] of a.entries()) {
    const other = b[index];
    if (other === undefined || !same(one, other)) return false;
  }
  return true;
}
