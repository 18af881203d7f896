// A pod that ADD brings in without a pass: what the kernel is told of it, and what is known here from then on.

import { isFault } from "../../base/fault.ts";
import type { PolicyTable } from "../../kernel/contract.ts";
import { elementsOf } from "../../policy/compile-sets.ts";
import { indexMembers } from "../../policy/members.ts";
import type { Member, MemberParts, MembershipKey, Model } from "../../policy/model.ts";
import { neededMemberships, type ReadObjects } from "../../policy/read-objects.ts";
import type { MemberElement, MemberSet, PolicyRuleset } from "../../policy/ruleset.ts";
import { selfLinks } from "./links.ts";
import type { Judged } from "./subjects.ts";
import type { View } from "./view.ts";

/** By what this node judges. */
export interface Standing {
  model: Omit<Model, "subjects"> & { subjects: readonly Judged[] };
  /** What the kernel holds. */
  held: PolicyRuleset;
}

/** The same with one pod more, and what is to come into sets for that. */
export interface Joined {
  standing: Standing;
  add: ReadonlyMap<string, readonly MemberElement[]>;
}

/** Adds a pod whose layers are there already. */
export function withPod({ model, held }: Standing, judged: Judged, objects: ReadObjects): Joined {
  const index = indexMembers(judged.isKnown ? [judged.pod] : [], objects);
  const mine = new Map<MembershipKey, readonly Member[]>();
  for (const definition of neededMemberships(objects)) {
    const members = index.membersOf(definition);
    if (members.length > 0) mine.set(definition.key, members);
  }
  const memberships = new Map<MembershipKey, MemberParts>(model.memberships);
  for (const [key, members] of mine) memberships.set(key, [...(memberships.get(key) ?? []), members]);
  const add = new Map<string, readonly MemberElement[]>();
  const memberSets = new Map<string, MemberSet>(held.memberSets);
  for (const [name, set] of held.memberSets) {
    const elements = elementsOf(set, mine.get(set.membership) ?? []);
    if (elements.length === 0) continue;
    add.set(name, elements);
    memberSets.set(name, { ...set, parts: [...set.parts, elements] });
  }
  const subjects = [...model.subjects.filter(({ key }) => key !== judged.key), judged];
  const links = new Set([...held.links, ...linksOf(judged)]);
  return { standing: { model: { ...model, subjects, memberships }, held: { ...held, links, memberSets } }, add };
}

/**
 * Whether an address of the pod is still another one's: a pod's of this node, or one that slices list. The sets that have it are not cleared of
 * it yet. The pool withholds addresses that are listed; those that another IPAM plugin chose can be. `listed` as of `View`.
 */
export function isTaken({ model }: Standing, { key, attachment }: Judged, listed: View["listed"]): boolean {
  const { addresses, delegate } = attachment;
  if (addresses.some((address) => listed?.has(address) ?? delegate !== undefined)) return true;
  return model.subjects.some(
    (one) => one.key !== key && one.attachment.addresses.some((address) => addresses.includes(address)),
  );
}

/** By which it must reach itself. A pod that nothing judges is denied nothing. */
function linksOf(judged: Judged): string[] {
  return judged.egress.length + judged.ingress.length > 0 ? selfLinks([judged]) : [];
}

/** Puts it into the sets that the kernel holds; false where that cannot be. `onFailure`: nobody knows whether it is in them. */
export async function admit(
  table: PolicyTable,
  judged: Judged,
  add: Joined["add"],
  onFailure: () => void,
): Promise<boolean> {
  const links = linksOf(judged);
  try {
    if (links.length > 0) await table.admit(links, add);
    else if (add.size > 0) await table.change({ add });
    return true;
  } catch (error) {
    if (isFault(error, "kernel-missing")) return false;
    onFailure();
    throw error;
  }
}
