// From one ruleset to the next: which elements of sets go and come, and what the kernel holds while links change their class.

import { setsOf } from "./compile-layer.ts";
import { elementKey } from "./compile-sets.ts";
import type { MemberElement, MemberSet, PolicyRuleset } from "./ruleset.ts";

/** What a set of members loses and gains. Where some lose and some gain, removals are committed first. */
export interface MemberChange {
  set: MemberSet;
  remove: MemberElement[];
  add: MemberElement[];
}

/** Of the sets that both have: what is to be done to those of `before`; sets that stay as they are are not named. */
export function memberChanges(before: PolicyRuleset, after: PolicyRuleset): MemberChange[] {
  const changes: MemberChange[] = [];
  for (const [name, set] of after.memberSets) {
    const old = before.memberSets.get(name);
    // The compiler gives the same list again where the members are the same list.
    if (old === undefined || old.elements === set.elements) continue;
    const remove = missingIn(set.elements, old.elements);
    const add = missingIn(old.elements, set.elements);
    if (remove.length + add.length > 0) changes.push({ set, remove, add });
  }
  return changes;
}

/** The elements of `list` that `other` does not have. */
function missingIn(other: readonly MemberElement[], list: readonly MemberElement[]): MemberElement[] {
  const keys = new Set(other.map(elementKey));
  return list.filter((element) => !keys.has(elementKey(element)));
}

/**
 * What the kernel is to hold while links still carry classes that `after` does not have: everything of `after`, and those classes of
 * `before`, as it holds them now, with all that they need. Once no link carries one of them, it is `after`.
 * @param carried the numbers that links carry now
 */
export function withCarried(before: PolicyRuleset, after: PolicyRuleset, carried: ReadonlySet<number>): PolicyRuleset {
  const leaving = [...before.classes].filter(([number]) => carried.has(number) && !after.classes.has(number));
  if (leaving.length === 0) return after;
  const names = new Set(leaving.flatMap(([, { egress, ingress, toNode }]) => [...egress, ...ingress, ...toNode]));
  const layers = [...before.layers].filter(([name]) => names.has(name));
  const sets = new Set(layers.flatMap(([, layer]) => [...setsOf(layer)]));
  const needed = ([name]: readonly [string, unknown]): boolean => sets.has(name);
  return {
    ...after,
    classes: new Map([...leaving, ...after.classes]),
    layers: new Map([...layers, ...after.layers]),
    // What both have is as `after` says.
    memberSets: new Map([...[...before.memberSets].filter(needed), ...after.memberSets]),
    blockSets: new Map([...[...before.blockSets].filter(needed), ...after.blockSets]),
  };
}
