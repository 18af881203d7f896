// From one ruleset to the next: which elements of sets go and come, and what the kernel holds while links change their class.

import { present } from "../base/assert.ts";
import { createTally, type Limits, type SetSize } from "./compile-fit.ts";
import { setsOf } from "./compile-layer.ts";
import { addressesOf, elementKey, uniqueElements } from "./compile-sets.ts";
import { policyLimits } from "./limits.ts";
import type { LayerChains, MemberElement, MemberSet, PolicyClass, PolicyRuleset } from "./ruleset.ts";

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
    if (old === undefined || old === set) continue;
    const [had, has] = [new Set(old.parts), new Set(set.parts)];
    const gone = old.parts.filter((part) => !has.has(part));
    const come = set.parts.filter((part) => !had.has(part));
    const remove = missingIn([...come, ...set.parts], gone);
    const add = missingIn([...gone, ...old.parts], come);
    if (remove.length + add.length > 0) changes.push({ set, remove, add });
  }
  return changes;
}

/** The elements of `parts` that `others` do not have, which are looked into in this order. */
function missingIn(others: MemberSet["parts"], parts: MemberSet["parts"]): MemberElement[] {
  const elements = uniqueElements(parts);
  if (elements.length > lookedUpMax) {
    const all = new Set(others.flatMap((part) => part.map(elementKey)));
    return elements.filter((element) => !all.has(elementKey(element)));
  }
  const isThere = (key: string): boolean => others.some((part) => keysOf(part).has(key));
  return elements.filter((element) => !isThere(elementKey(element)));
}

/** So many are looked up in one part after the other; for more, the parts are put together first. */
const lookedUpMax = 256;

/** Kept as long as the part lives: most are looked into again and again. */
const partKeys = new WeakMap<readonly MemberElement[], ReadonlySet<string>>();

function keysOf(part: readonly MemberElement[]): ReadonlySet<string> {
  const keys = partKeys.get(part) ?? new Set(part.map(elementKey));
  partKeys.set(part, keys);
  return keys;
}

/**
 * What the kernel is to hold while links still carry classes that `after` does not have: everything of `after`, and those classes of
 * `before`, as it holds them now, with all that they need. Once no link carries one of them, it is `after`. A class for which there is
 * no room is left out: it lets nothing pass until its links have moved.
 * @param carried the numbers that links carry now
 */
export function withCarried(
  before: PolicyRuleset,
  after: PolicyRuleset,
  carried: ReadonlySet<number>,
  limits: Limits = policyLimits,
): PolicyRuleset {
  const tally = createTally(limits);
  for (const layer of after.layers.values()) tally.fits(layer, sizesOf(after, layer));
  const fits = (name: string): boolean => {
    const layer = present(before.layers.get(name), `the layer ${name}`);
    return tally.fits(layer, sizesOf(before, layer));
  };
  const leaving = [...before.classes].filter(
    ([number, layers]) => carried.has(number) && !after.classes.has(number) && namesOf(layers).every(fits),
  );
  if (leaving.length === 0) return after;
  const names = new Set(leaving.flatMap(([, layers]) => namesOf(layers)));
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

function namesOf({ egress, ingress, toNode }: PolicyClass): string[] {
  return [...egress, ...ingress, ...toNode];
}

/** The sets that a layer of the ruleset looks into. */
function sizesOf({ memberSets, blockSets }: PolicyRuleset, layer: LayerChains): SetSize[] {
  return Array.from(setsOf(layer), (name) => {
    const members = memberSets.get(name);
    if (members !== undefined) return { name, addresses: addressesOf(members) };
    return { name, addresses: present(blockSets.get(name), `the set ${name}`).blocks.length };
  });
}
