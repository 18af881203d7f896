// Changes of what a set of the policy table holds, without a new ruleset: members of groups, links of pods.

import { Fault } from "../../base/fault.ts";
import type { MemberElement } from "../../policy/ruleset.ts";
import type { MemberChanges } from "../contract.ts";
import { type ChangedElements, changeElements, type Element, bytesOfKey, type Elements } from "./elements.ts";
import { policyTableName, selfSet, selfSetKey, selfSetName } from "./policy-base.ts";
import { setElements } from "./policy-image.ts";
import { memberKey, memberValues } from "./policy-layers.ts";
import type { PolicyState, Step } from "./policy-plan.ts";
import { elementMessages } from "./set-messages.ts";

/** Elements to remove from a set, and to add to it then. */
export interface SetChange {
  set: string;
  remove: ReadonlyMap<string, Element>;
  add: ReadonlyMap<string, Element>;
}

export function memberChanges({ remove, add }: { remove?: MemberChanges; add?: MemberChanges }): SetChange[] {
  const names = new Set([...(remove?.keys() ?? []), ...(add?.keys() ?? [])]);
  return Array.from(names, (set) => ({
    set,
    remove: memberElements(remove?.get(set) ?? []),
    add: memberElements(add?.get(set) ?? []),
  }));
}

export function linkChange(change: "remove" | "add", links: readonly string[]): SetChange {
  const elements = setElements(selfSetKey, selfSet(links).elements);
  return { set: selfSetName, remove: new Map(), add: new Map(), [change]: elements };
}

function memberElements(elements: readonly MemberElement[]): ReadonlyMap<string, Element> {
  return new Map(elements.flatMap((element) => [...setElements(memberKey(element), [memberValues(element)])]));
}

/**
 * The batches that make the changes; none where nothing changes. Removals come first: an address that goes from one set to another
 * is never in both. @throws Fault "kernel-missing" where a set is not there, "kernel-refused" for an element of another kind
 */
export function changeSteps(state: PolicyState, changes: readonly SetChange[]): Step[] {
  const parts = changes.map(({ set, remove, add }) => {
    const held = heldBy(state, set, [...remove, ...add]);
    return {
      set,
      gone: keysWhere(remove, (key) => held.has(key) && !add.has(key)),
      come: keysWhere(add, (key) => !held.has(key)),
    };
  });
  const steps: Step[] = [
    {
      what: "remove members of policy sets",
      messages: parts.flatMap(({ set, gone }) => elementMessages("deleteElements", policyTableName, set, gone)),
    },
    {
      what: "add members of policy sets",
      messages: parts.flatMap(({ set, come }) => elementMessages("newElements", policyTableName, set, come)),
    },
  ];
  return steps.filter(({ messages }) => messages.length > 0);
}

/** The state once the changes are made. Sets that were changed before are changed where they are: the old state is no longer one. */
export function changedState(state: PolicyState, changes: readonly SetChange[]): PolicyState {
  const sets = new Map(state.sets);
  for (const { set, remove, add } of changes) {
    const before = sets.get(set);
    if (before?.elements === undefined) continue;
    const elements = own.get(before.elements) ?? changeElements(before.elements);
    own.set(elements, elements);
    elements.change(remove, add);
    sets.set(set, { ...before, elements });
  }
  return { ...state, sets };
}

/** Those that one state has for itself: what an image holds is shared. */
const own = new WeakMap<Elements, ChangedElements>();

function heldBy(state: PolicyState, set: string, changed: readonly [string, Element][]): Elements {
  const { elements, keyLen } = state.sets.get(set) ?? {};
  if (elements === undefined) {
    throw new Fault("kernel-missing", `the policy table has no set ${set} whose members change`);
  }
  if (changed.some(([key, { verdict }]) => key.length !== keyLen || verdict !== undefined)) {
    throw new Fault("kernel-refused", `a member of another kind than those of the policy set ${set}`);
  }
  return elements;
}

function keysWhere(elements: SetChange["add"], isWanted: (key: string) => boolean): Uint8Array[] {
  return Array.from(elements.keys()).filter(isWanted).map(bytesOfKey);
}
