// The memberships that this node judges by: what the controller tells, and its own pods, which it matches itself.

import { sameItems } from "../../base/same-items.ts";
import type { Ip } from "../../net/ip.ts";
import { indexMembers } from "../../policy/members.ts";
import type { Member, MemberParts, MembershipKey, Memberships, PolicyPod } from "../../policy/model.ts";
import { neededMemberships, type ReadObjects } from "../../policy/read-objects.ts";

interface Made {
  /** Of this node's pods, as text; they are the last part. */
  own: string;
  members: MemberParts;
}

/** What of this node's pods memberships ask for; `pods` are those of which more is known than their names. */
export interface OwnPods {
  pods: readonly PolicyPod[];
  /** Addresses of this node's pods that somebody has told of: nobody else can say whose they are. */
  addresses: ReadonlySet<Ip>;
}

/**
 * Gives what puts both together. A pod of this node is a member as soon as it is attached, and no more as soon as it is none, whatever
 * the controller has heard. What is as before is the same list, and the same part of one.
 */
export function createMemberships(): (told: Memberships, own: OwnPods, objects: ReadObjects) => Memberships {
  let made = new Map<MembershipKey, Made>();
  /** The same set as long as it holds the same. */
  let ofNode: ReadonlySet<Ip> = new Set();
  const others = createOthers();
  return (told, { pods, addresses }, objects) => {
    if (!ofNode.isSubsetOf(addresses) || ofNode.size !== addresses.size) ofNode = addresses;
    const index = indexMembers(pods, objects);
    const now = new Map<MembershipKey, Made>();
    for (const definition of neededMemberships(objects)) {
      const { key } = definition;
      const before = made.get(key);
      const parts = (told.get(key) ?? nobody).map((part) => others(part, ofNode));
      const mine = index.membersOf(definition);
      const own = JSON.stringify(mine);
      const ownPart = before?.own === own ? before.members.at(-1) : undefined;
      const members = [...parts, ownPart ?? mine];
      const isSame = before !== undefined && sameItems(before.members, members);
      now.set(key, { own, members: isSame ? before.members : members });
    }
    made = now;
    return new Map([...now].map(([key, { members }]) => [key, members]));
  };
}

const nobody: MemberParts = [];

/** Gives what leaves out members at some addresses; the same part where there are none, or the same as before. */
function createOthers(): (part: readonly Member[], addresses: ReadonlySet<Ip>) => readonly Member[] {
  const known = new WeakMap<readonly Member[], { without: ReadonlySet<Ip>; rest: readonly Member[] }>();
  return (part, addresses) => {
    const before = known.get(part);
    if (before?.without === addresses) return before.rest;
    const all = part.filter(({ address }) => !addresses.has(address));
    const same = [part, before?.rest].find((list) => list !== undefined && sameItems(list, all));
    const rest = same ?? all;
    known.set(part, { without: addresses, rest });
    return rest;
  };
}
