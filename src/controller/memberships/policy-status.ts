// What people are told of the security groups and bindings that they wrote: whether all of it counts, and whom it reaches. Pure.

import type { Condition } from "../../kube/objects.ts";
import type { SecurityGroup, SecurityGroupBinding } from "../../kube/policy-objects.ts";
import { objectTitle } from "../../policy/problem.ts";
import { type ReadObjects, selectsNamespace } from "../../policy/read-objects.ts";
import type { Enforcement } from "./enforcement.ts";

type GroupStatus = NonNullable<SecurityGroup["status"]>;
type BindingStatus = NonNullable<SecurityGroupBinding["status"]>;
/** A group that the pods of a binding are not made members of, and why. */
export type RefusedGroup = NonNullable<BindingStatus["refused"]>[number];

const acceptedCondition = "Accepted";
const enforcedCondition = "Enforced";
const messageLenMax = 1024;
/** Problems of one object, nodes, and objects with break-glass, that are told in full. */
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

/** What the status of a group tells. */
export interface GroupFacts {
  members: number;
  problem: string | undefined;
  enforcement: Enforcement;
}

/** The status of a group; undefined where it says so already. `nowText` is RFC 3339. */
export function groupStatus(
  { metadata, status }: SecurityGroup,
  { members, problem, enforcement }: GroupFacts,
  nowText: string,
): GroupStatus | undefined {
  const verdict = problem === undefined ? accepted : invalid(problem);
  const { nodesTotal, nodesEnforcing } = enforcement;
  const wanted: GroupStatus = {
    ...observed(metadata.generation),
    members,
    nodesTotal,
    nodesEnforcing,
    conditions: [
      conditionOf(acceptedCondition, verdict, status?.conditions, nowText),
      conditionOf(enforcedCondition, enforcedVerdict(enforcement), status?.conditions, nowText),
    ],
  };
  return JSON.stringify(wanted) === JSON.stringify(status && ordered(status)) ? undefined : wanted;
}

const ordered = ({
  observedGeneration,
  members,
  nodesTotal = -1,
  nodesEnforcing = -1,
  conditions = [],
}: GroupStatus): GroupStatus => ({
  ...observed(observedGeneration),
  members,
  nodesTotal,
  nodesEnforcing,
  conditions: conditions.map(orderedCondition),
});

/** All that is in the way, the worst first: its reason counts. */
function enforcedVerdict({ nodesTotal, behind, bypassed, opened, openedBy }: Enforcement): Verdict {
  const found: { reason: string; message: string }[] = [];
  if (bypassed.length > 0) {
    const message = `something goes round policy on ${namesOf(bypassed)}; see its NodeNetwork's faults, or fairlead check there`;
    found.push({ reason: "Bypassed", message });
  }
  if (opened.length > 0) {
    const message = `break-glass of ${namesOf(openedBy)}: members on ${namesOf(opened)} are denied nothing`;
    found.push({ reason: "BreakGlass", message });
  }
  if (behind.length > 0) {
    found.push({ reason: "Pending", message: `not yet, or not any more, on ${namesOf(behind)}` });
  }
  const [worst] = found;
  if (worst !== undefined) {
    const message = found.map((one) => one.message).join("; ");
    return { status: "False", reason: worst.reason, message };
  }
  const message = nodesTotal === 0 ? "no node has members" : "on every node that has members";
  return { status: "True", reason: nodesTotal === 0 ? "NoMembers" : "Enforced", message };
}

function namesOf(names: readonly string[]): string {
  const more = names.length - toldMax;
  return `${names.slice(0, toldMax).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** The groups that `names` lists and that cannot be had from that namespace. */
export function refusedGroups(names: readonly string[], namespace: string, objects: ReadObjects): RefusedGroup[] {
  return [...new Set(names)].flatMap((group): RefusedGroup[] => {
    const found = objects.groups.get(group);
    if (found === undefined) return [{ group, reason: "Unknown" }];
    return selectsNamespace(objects, found.bindableFrom, namespace) ? [] : [{ group, reason: "NotBindable" }];
  });
}

/** Why a binding does not count in full: the reason of the first group, and a sentence about each; undefined where all count. */
export function refusalOf(
  refused: readonly RefusedGroup[],
  namespace: string,
): { reason: string; message: string } | undefined {
  const [first] = refused;
  if (first === undefined) return undefined;
  return { reason: first.reason, message: refused.map((one) => refusalText(one, namespace)).join("; ") };
}

function refusalText({ group, reason }: RefusedGroup, namespace: string): string {
  const title = objectTitle("SecurityGroup", { name: group });
  return reason === "Unknown"
    ? `there is no ${title}: pods are bound to nothing in its place, so it allows them nothing`
    : `${title} may not be bound from namespace ${namespace} (its bindableFrom): it allows these pods nothing`;
}

/** What the status of a binding tells. */
export interface BindingFacts {
  /** Pods that it selects. */
  pods: number;
  refused: readonly RefusedGroup[];
  problem: string | undefined;
}

/** The status of a binding; undefined where it says so already. */
export function bindingStatus(
  { metadata, status }: SecurityGroupBinding,
  { pods, refused, problem }: BindingFacts,
  nowText: string,
): BindingStatus | undefined {
  const verdict = problem === undefined ? bindingVerdict(refused, metadata.namespace ?? "") : invalid(problem);
  const wanted: BindingStatus = {
    ...observed(metadata.generation),
    refused: [...refused],
    pods,
    conditions: [conditionOf(acceptedCondition, verdict, status?.conditions, nowText)],
  };
  const before: BindingStatus | undefined = status && {
    ...observed(status.observedGeneration),
    refused: status.refused?.map(({ group, reason }) => ({ group, reason })) ?? [],
    pods: status.pods ?? -1,
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
  const refusal = refusalOf(refused, namespace);
  return refusal === undefined ? accepted : { status: "False", ...refusal };
}

const observed = (generation: number | undefined): { observedGeneration?: number } =>
  generation === undefined ? {} : { observedGeneration: generation };

/** The time changes only with the condition's status. */
function conditionOf(
  of: string,
  verdict: Verdict,
  before: readonly Condition[] | undefined,
  nowText: string,
): Condition {
  const { status, reason, message } = verdict;
  const held = before?.find(({ type }) => type === of);
  return {
    type: of,
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
