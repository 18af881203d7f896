// Who the members of a membership are: pods put where a selector finds them without looking at all.

import { groupsOf } from "./groups-of.ts";
import type { CanonicalSelector, Member, MembershipDefinition, Memberships, PolicyPod } from "./model.ts";
import { type ReadObjects, neededMemberships, selectsNamespace } from "./read-objects.ts";
import { selects } from "./selector.ts";

/** Pods of one namespace, and of each label's value the pods that have it. */
interface PodsOfNamespace {
  all: PolicyPod[];
  byLabel: Map<string, PolicyPod[]>;
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
  const ofGroups = new Map<string, PolicyPod[]>();
  for (const pod of pods) {
    if (pod.addresses.length === 0) continue;
    let own = namespaces.get(pod.namespace);
    if (own === undefined) namespaces.set(pod.namespace, (own = { all: [], byLabel: new Map() }));
    own.all.push(pod);
    for (const [key, value] of Object.entries(pod.labels)) append(own.byLabel, labelPair(key, value), pod);
    for (const { name } of groupsOf(pod, objects).groups) append(ofGroups, name, pod);
  }

  const podsOf = ({ select }: MembershipDefinition): PolicyPod[] => {
    if ("group" in select) return [...(ofGroups.get(select.group) ?? [])];
    const found: PolicyPod[] = [];
    for (const [name, own] of namespaces) {
      if (!selectsNamespace(objects, select.namespaces, name)) continue;
      for (const pod of candidates(own, select.pods)) if (selects(select.pods, pod.labels)) found.push(pod);
    }
    return found;
  };
  const membersOf = (definition: MembershipDefinition): Member[] =>
    podsOf(definition).flatMap(({ addresses, ports }) => addresses.map((address) => ({ address, ports })));
  return { podsOf, membersOf };
}

function append(lists: Map<string, PolicyPod[]>, key: string, pod: PolicyPod): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [pod]);
  else list.push(pod);
}

/** Pods among which those of the selector are: of the requirement that names values of a label, those with the values. */
function candidates({ all, byLabel }: PodsOfNamespace, selector: CanonicalSelector): readonly PolicyPod[] {
  let fewest: readonly PolicyPod[] = all;
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
  return new Map(neededMemberships(objects).map((definition) => [definition.key, index.membersOf(definition)]));
}
