// What people are told of the security groups and bindings that they wrote: whether all of it counts, and whom it reaches. Pure.

import type { Condition } from "../../kube/objects.ts";
import type { SecurityGroup, SecurityGroupBinding } from "../../kube/policy-objects.ts";
import { objectTitle } from "../../policy/problem.ts";
import { type ReadObjects, selectsNamespace } from "../../policy/read-objects.ts";

type GroupStatus = NonNullable<SecurityGroup["status"]>;
type BindingStatus = NonNullable<SecurityGroupBinding["status"]>;
/** A group that the pods of a binding are not made members of, and why. */
export type RefusedGroup = NonNullable<BindingStatus["refused"]>[number];

const acceptedCondition = "Accepted";
const messageLenMax = 1024;
/** Problems of one object that are told in full. */
const toldMax = 3;

/** What is wrong with each object that somebody wrote, by its title. */
export function problemsByObject({ problems }: ReadObjects): ReadonlyMap<string, string> {
  const byObject = Map.groupBy(problems, ({ object }) => object);
  return new Map(
    [...byObject].map(([object, found]) => {
      const told = found.slice(0, toldMax).map(({ path, message }) => `${path}: ${message}`);
      const more = found.length - told.length;
      return [object, `${told.join("; ")}${more > 0 ? `; and ${more} more` : ""}`];
    }),
  );
}

/** The status of a group with that many members; undefined where it says so already. `nowText` is RFC 3339. */
export function groupStatus(
  { metadata, status }: SecurityGroup,
  members: number,
  problem: string | undefined,
  nowText: string,
): GroupStatus | undefined {
  const verdict = problem === undefined ? accepted : invalid(problem);
  const wanted: GroupStatus = {
    ...observed(metadata.generation),
    members,
    conditions: [conditionOf(verdict, status?.conditions, nowText)],
  };
  return JSON.stringify(wanted) === JSON.stringify(status && ordered(status)) ? undefined : wanted;
}

const ordered = ({ observedGeneration, members, conditions = [] }: GroupStatus): GroupStatus => ({
  ...observed(observedGeneration),
  members,
  conditions: conditions.map(orderedCondition),
});

/** The groups that `names` lists and that cannot be had from that namespace. */
export function refusedGroups(names: readonly string[], namespace: string, objects: ReadObjects): RefusedGroup[] {
  return [...new Set(names)].flatMap((group): RefusedGroup[] => {
    const found = objects.groups.get(group);
    if (found === undefined) return [{ group, reason: "Unknown" }];
    return selectsNamespace(objects, found.bindableFrom, namespace) ? [] : [{ group, reason: "NotBindable" }];
  });
}

/** The sentence about a refused group. */
export function refusalText({ group, reason }: RefusedGroup, namespace: string): string {
  const title = objectTitle("SecurityGroup", { name: group });
  return reason === "Unknown"
    ? `there is no ${title}: pods are bound to nothing in its place, so it allows them nothing`
    : `${title} may not be bound from namespace ${namespace} (its bindableFrom): it allows these pods nothing`;
}

/** The status of a binding; undefined where it says so already. */
export function bindingStatus(
  { metadata, status }: SecurityGroupBinding,
  refused: readonly RefusedGroup[],
  problem: string | undefined,
  nowText: string,
): BindingStatus | undefined {
  const verdict = problem === undefined ? bindingVerdict(refused, metadata.namespace ?? "") : invalid(problem);
  const wanted: BindingStatus = {
    ...observed(metadata.generation),
    refused: [...refused],
    conditions: [conditionOf(verdict, status?.conditions, nowText)],
  };
  const before: BindingStatus | undefined = status && {
    ...observed(status.observedGeneration),
    refused: status.refused?.map(({ group, reason }) => ({ group, reason })) ?? [],
    conditions: status.conditions?.map(orderedCondition) ?? [],
  };
  return JSON.stringify(wanted) === JSON.stringify(before) ? undefined : wanted;
}

interface Verdict {
  status: "True" | "False";
  reason: string;
  message: string;
}

const accepted: Verdict = { status: "True", reason: "Accepted", message: "all of it counts" };
const invalid = (message: string): Verdict => ({ status: "False", reason: "Invalid", message });

function bindingVerdict(refused: readonly RefusedGroup[], namespace: string): Verdict {
  const [first] = refused;
  if (first === undefined) return accepted;
  const message = refused.map((one) => refusalText(one, namespace)).join("; ");
  return { status: "False", reason: first.reason, message };
}

const observed = (generation: number | undefined): { observedGeneration?: number } =>
  generation === undefined ? {} : { observedGeneration: generation };

/** The time changes only with the condition's status. */
function conditionOf(verdict: Verdict, before: readonly Condition[] | undefined, nowText: string): Condition {
  const { status, reason, message } = verdict;
  const held = before?.find(({ type }) => type === acceptedCondition);
  return {
    type: acceptedCondition,
    status,
    reason,
    message: message.slice(0, messageLenMax),
    lastTransitionTime: held?.status === status ? held.lastTransitionTime : nowText,
  };
}

const orderedCondition = ({ type, status, reason, message, lastTransitionTime }: Condition): Condition => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime,
});
