// The memberships that this node judges by: what the controller tells, and its own pods, which it matches itself.

import type { Ip } from "../../net/ip.ts";
import { indexMembers } from "../../policy/members.ts";
import type { Member, MembershipKey, Memberships, PolicyPod } from "../../policy/model.ts";
import { neededMemberships, type ReadObjects } from "../../policy/read-objects.ts";
import { joined } from "./slices.ts";

interface Made {
  told: readonly Member[];
  own: string;
  members: readonly Member[];
}

/** What of this node's pods memberships ask for; `pods` are those of which more is known than their names. */
export interface OwnPods {
  pods: readonly PolicyPod[];
  /** Addresses of all pods of this node: nobody else can say whose they are. */
  addresses: ReadonlySet<Ip>;
}

/**
 * Gives what puts both together. A pod of this node is a member as soon as it is attached, and no more as soon as it is none, whatever
 * the controller has heard; a list that is as before is the same list.
 */
export function createMemberships(): (told: Memberships, own: OwnPods, objects: ReadObjects) => Memberships {
  let made = new Map<MembershipKey, Made>();
  return (told, { pods, addresses }, objects) => {
    const index = indexMembers(pods, objects);
    const now = new Map<MembershipKey, Made>();
    for (const definition of neededMemberships(objects)) {
      const { key } = definition;
      const all = told.get(key) ?? nobody;
      const [claimed, mine] = [all.filter(({ address }) => addresses.has(address)), index.membersOf(definition)];
      const own = JSON.stringify([claimed, mine]);
      const before = made.get(key);
      const isSame = before?.told === all && before.own === own;
      now.set(key, isSame ? before : { told: all, own, members: union(all, claimed, mine) });
    }
    made = now;
    return new Map([...now].map(([key, { members }]) => [key, members]));
  };
}

const nobody: readonly Member[] = [];

function union(told: readonly Member[], claimed: readonly Member[], own: readonly Member[]): readonly Member[] {
  if (JSON.stringify(claimed) === JSON.stringify(own)) return told;
  const gone = new Set(claimed);
  return joined([told.filter((member) => !gone.has(member)), own]);
}
