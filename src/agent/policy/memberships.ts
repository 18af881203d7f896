// The memberships that this node judges by: what the controller tells, and its own pods, which it matches itself.

import { indexMembers } from "../../policy/members.ts";
import type { Member, MembershipKey, Memberships, PolicyPod } from "../../policy/model.ts";
import { neededMemberships, type ReadObjects } from "../../policy/read-objects.ts";
import { joined } from "./slices.ts";

interface Made {
  told: readonly Member[];
  own: string;
  members: readonly Member[];
}

/**
 * Gives what puts both together. A pod of this node is a member as soon as it is attached, whether the controller has heard of it
 * or not; a list that is as before is the same list.
 */
export function createMemberships(): (
  told: Memberships,
  pods: readonly PolicyPod[],
  objects: ReadObjects,
) => Memberships {
  let made = new Map<MembershipKey, Made>();
  return (told, pods, objects) => {
    const index = indexMembers(pods, objects);
    const now = new Map<MembershipKey, Made>();
    for (const definition of neededMemberships(objects)) {
      const { key } = definition;
      const [others, mine] = [told.get(key) ?? nobody, index.membersOf(definition)];
      const own = JSON.stringify(mine);
      const before = made.get(key);
      now.set(
        key,
        before?.told === others && before.own === own ? before : { told: others, own, members: union(others, mine) },
      );
    }
    made = now;
    return new Map([...now].map(([key, { members }]) => [key, members]));
  };
}

const nobody: readonly Member[] = [];

function union(told: readonly Member[], own: readonly Member[]): readonly Member[] {
  if (own.length === 0) return told;
  const known = new Set(told.map((member) => JSON.stringify(member)));
  const more = own.filter((member) => !known.has(JSON.stringify(member)));
  return more.length === 0 ? told : joined([told, more]);
}
