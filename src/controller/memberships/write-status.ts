// Writes the status of security groups and bindings where it says anything else, and tells in events what does not count.

import { describe, isFault } from "../../base/fault.ts";
import type { Kind, KubeObject } from "../../kube/contract.ts";
import {
  networkPolicies,
  type SecurityGroup,
  type SecurityGroupBinding,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
} from "../../kube/policy-objects.ts";
import { objectTitle } from "../../policy/problem.ts";
import type { ControllerDeps } from "../deps.ts";
import { each } from "../each.ts";
import { subjectOf } from "../events.ts";
import { createBoundPods } from "./bound-pods.ts";
import { createEnforcement } from "./enforcement.ts";
import {
  bindingStatus,
  groupStatus,
  problemsByObject,
  refusalOf,
  refusedGroups,
  type RefusedGroup,
} from "./policy-status.ts";
import type { PolicySeen } from "./policy-seen.ts";

/** Brings all of it up to what was seen, events last: nobody waits for them. @throws Fault of the first write that failed, after all have been tried */
export async function writePolicyStatus(deps: ControllerDeps, seen: PolicySeen, signal: AbortSignal): Promise<void> {
  const { caches, objects } = seen;
  const { events } = deps;
  const nowText = new Date(deps.now()).toISOString();
  const problems = problemsByObject(objects);
  const problemOf = ({ kind }: Kind<KubeObject>, { metadata }: KubeObject): string | undefined =>
    problems.get(objectTitle(kind, metadata));
  const enforcementOf = createEnforcement(caches, seen.nodesOf, seen.opened);
  const podsOf = createBoundPods(caches.pods.all(), objects);
  const refusedOf = ({ metadata: { namespace = "" } }: KubeObject, groups: readonly string[]): RefusedGroup[] =>
    refusedGroups(groups, namespace, objects);

  const tellGroup = async (group: SecurityGroup): Promise<void> => {
    const { name } = group.metadata;
    const problem = problemOf(securityGroups, group);
    const facts = { members: seen.membersOf(name), problem, enforcement: enforcementOf(group) };
    await writeStatus(deps, securityGroups, group, groupStatus(group, facts, nowText), signal);
  };
  const tellBinding = async (binding: SecurityGroupBinding): Promise<void> => {
    const problem = problemOf(securityGroupBindings, binding);
    const facts = { pods: podsOf(binding), refused: refusedOf(binding, binding.spec.groups), problem };
    await writeStatus(deps, securityGroupBindings, binding, bindingStatus(binding, facts, nowText), signal);
  };
  const warn = async (kind: Kind<KubeObject>, object: KubeObject, groups: readonly string[] = []): Promise<void> => {
    const subject = subjectOf(kind, object.metadata);
    const problem = problemOf(kind, object);
    if (problem !== undefined) await events.warn(subject, "Invalid", problem, signal);
    const refusal = refusalOf(refusedOf(object, groups), object.metadata.namespace ?? "");
    if (refusal !== undefined) await events.warn(subject, refusal.reason, refusal.message, signal);
  };

  try {
    const statuses = [
      ...caches.groups.all().map((group) => () => tellGroup(group)),
      ...caches.bindings.all().map((binding) => () => tellBinding(binding)),
    ];
    await each(statuses, signal, (tell) => tell());
  } finally {
    const warnings = [
      ...caches.groups.all().map((group) => () => warn(securityGroups, group)),
      ...caches.bindings.all().map((binding) => () => warn(securityGroupBindings, binding, binding.spec.groups)),
      ...caches.groupPolicies
        .all()
        .map((policy) => () => warn(securityGroupPolicies, policy, policy.spec.securityGroups?.groupIds)),
      ...caches.networkPolicies.all().map((policy) => () => warn(networkPolicies, policy)),
    ];
    await each(warnings, signal, (tell) => tell());
  }
}

/** On the version that was judged: what has been written since is judged when it is seen. A status that is refused keeps nobody else waiting. */
async function writeStatus<T extends KubeObject>(
  { kube, events }: ControllerDeps,
  kind: Kind<T>,
  { metadata }: T,
  status: object | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (status === undefined) return;
  const { uid, resourceVersion } = metadata;
  const body = { metadata: { uid, resourceVersion }, status };
  try {
    await kube.patch(kind, metadata, { type: "merge", body }, { subresource: "status", signal });
  } catch (error) {
    if (isFault(error, "kube-conflict", "kube-not-found")) return;
    if (!isFault(error, "kube-refused")) throw error;
    await events.warn(subjectOf(kind, metadata), "WriteRefused", describe(error), signal);
  }
}
