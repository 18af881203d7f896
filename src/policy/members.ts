// Who the members of a membership are: pods put where a selector finds them without looking at all.

import { groupsOf } from "./groups-of.ts";
import type { CanonicalSelector, Member, MembershipDefinition, Memberships, PolicyPod } from "./model.ts";
import { type ReadObjects, neededMemberships, selectsNamespace } from "./read-objects.ts";
import { selects } from "./selector.ts";

/** A pod with what it brings into every membership: an address may be in hundreds of them. */
interface Indexed {
  pod: PolicyPod;
  members: readonly Member[];
}

/** Pods of one namespace, and of each label's value the pods that have it. */
interface PodsOfNamespace {
  all: Indexed[];
  byLabel: Map<string, Indexed[]>;
}

/** Answers for one state of pods and objects. */
export interface MemberIndex {
  /** Each pod once; those of a namespace together, in the order in which they were given. */
  podsOf(definition: MembershipDefinition): PolicyPod[];
  membersOf(definition: MembershipDefinition): Member[];
}

// No key of a label has a "=" in it.
const labelPair = (key: string, value: string): string => `${key}=${value}`;

/** Indexes `pods`. A pod without addresses is nobody's member. */
export function indexMembers(pods: readonly PolicyPod[], objects: ReadObjects): MemberIndex {
  const namespaces = new Map<string, PodsOfNamespace>();
  const ofGroups = new Map<string, Indexed[]>();
  for (const pod of pods) {
    if (pod.addresses.length === 0) continue;
    const indexed = { pod, members: pod.addresses.map((address) => ({ address, ports: pod.ports })) };
    let own = namespaces.get(pod.namespace);
    if (own === undefined) namespaces.set(pod.namespace, (own = { all: [], byLabel: new Map() }));
    own.all.push(indexed);
    for (const [key, value] of Object.entries(pod.labels)) append(own.byLabel, labelPair(key, value), indexed);
    for (const { name } of groupsOf(pod, objects).groups) append(ofGroups, name, indexed);
  }

  const find = ({ select }: MembershipDefinition): readonly Indexed[] => {
    if ("group" in select) return ofGroups.get(select.group) ?? [];
    const found: Indexed[] = [];
    for (const [name, own] of namespaces) {
      if (!selectsNamespace(objects, select.namespaces, name)) continue;
      for (const one of candidates(own, select.pods)) if (selects(select.pods, one.pod.labels)) found.push(one);
    }
    return found;
  };
  return {
    podsOf: (definition) => find(definition).map(({ pod }) => pod),
    membersOf: (definition) => find(definition).flatMap(({ members }) => members),
  };
}

function append(lists: Map<string, Indexed[]>, key: string, pod: Indexed): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [pod]);
  else list.push(pod);
}

/** Pods among which those of the selector are: of the requirement that names values of a label, those with the values. */
function candidates({ all, byLabel }: PodsOfNamespace, selector: CanonicalSelector): readonly Indexed[] {
  let fewest: readonly Indexed[] = all;
  for (const { key, operator, values } of selector) {
    if (operator !== "In") continue;
    // A pod has one value of a key, so these lists share no pod.
    const some = values.flatMap((value) => byLabel.get(labelPair(key, value)) ?? []);
    if (some.length < fewest.length) fewest = some;
  }
  return fewest;
}

/** The members of every membership that some object refers to. */
export function allMembers(index: MemberIndex, objects: ReadObjects): Memberships {
  return new Map(neededMemberships(objects).map((definition) => [definition.key, [index.membersOf(definition)]]));
}
