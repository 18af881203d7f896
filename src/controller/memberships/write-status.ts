// Writes the status of security groups and bindings where it says anything else, and tells in events what does not count.

import { isFault } from "../../base/fault.ts";
import type { KubeObject } from "../../kube/contract.ts";
import {
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
} from "../../kube/policy-objects.ts";
import { objectTitle } from "../../policy/problem.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import type { ControllerDeps } from "../deps.ts";
import { each } from "../each.ts";
import { subjectOf } from "../events.ts";
import { createBoundPods } from "./bound-pods.ts";
import { createEnforcement } from "./enforcement.ts";
import { openedNow } from "./opened.ts";
import {
  bindingStatus,
  groupStatus,
  problemsByObject,
  refusalText,
  refusedGroups,
  type RefusedGroup,
} from "./policy-status.ts";
import type { MemberNodes } from "./roster.ts";

/** Who is in a group. */
export interface GroupCounts {
  membersOf: (group: string) => number;
  /** Nodes that have members. */
  nodesOf: (group: string) => MemberNodes;
}

/** Brings all of it up to `objects`. Gives when it will have to say something else of break-glass, in milliseconds since 1970. */
export async function writePolicyStatus(
  deps: ControllerDeps,
  objects: ReadObjects,
  { membersOf, nodesOf }: GroupCounts,
  signal: AbortSignal,
): Promise<number> {
  const { kube, caches, events } = deps;
  const nowMs = deps.now();
  const nowText = new Date(nowMs).toISOString();
  const opened = openedNow(caches, objects, nowMs);
  const problems = problemsByObject(objects);
  const enforcementOf = createEnforcement(caches, nodesOf, opened);
  const podsOf = createBoundPods(caches.pods.all(), objects);
  const tell = async (kind: Parameters<typeof subjectOf>[0], { metadata }: KubeObject): Promise<string | undefined> => {
    const problem = problems.get(objectTitle(kind.kind, metadata));
    if (problem !== undefined) await events.warn(subjectOf(kind, metadata), "Invalid", problem, signal);
    return problem;
  };
  const tellRefused = async (
    kind: Parameters<typeof subjectOf>[0],
    { metadata }: KubeObject,
    refused: readonly RefusedGroup[],
  ): Promise<void> => {
    for (const one of refused)
      await events.warn(subjectOf(kind, metadata), one.reason, refusalText(one, metadata.namespace ?? ""), signal);
  };

  await each(caches.groups.all(), signal, async (group) => {
    const { name } = group.metadata;
    const problem = await tell(securityGroups, group);
    const status = groupStatus(
      group,
      { members: membersOf(name), problem, enforcement: enforcementOf(group) },
      nowText,
    );
    if (status === undefined) return;
    const body = { metadata: versionOf(group), status };
    await unlessLate(() =>
      kube.patch(securityGroups, { name }, { type: "merge", body }, { subresource: "status", signal }),
    );
  });
  await each(caches.bindings.all(), signal, async (binding) => {
    const { name, namespace = "" } = binding.metadata;
    const refused = refusedGroups(binding.spec.groups, namespace, objects);
    const problem = await tell(securityGroupBindings, binding);
    await tellRefused(securityGroupBindings, binding, refused);
    const status = bindingStatus(binding, { pods: podsOf(binding), refused, problem }, nowText);
    if (status === undefined) return;
    const body = { metadata: versionOf(binding), status };
    await unlessLate(() =>
      kube.patch(
        securityGroupBindings,
        { name, namespace },
        { type: "merge", body },
        { subresource: "status", signal },
      ),
    );
  });
  await each(caches.groupPolicies.all(), signal, async (policy) => {
    const names = policy.spec.securityGroups?.groupIds ?? [];
    await tell(securityGroupPolicies, policy);
    await tellRefused(securityGroupPolicies, policy, refusedGroups(names, policy.metadata.namespace ?? "", objects));
  });
  for (const policy of caches.networkPolicies.all()) await tell(networkPolicies, policy);
  return opened.edgeMs;
}

/** The version that was judged: what has been written since is judged by the next pass. */
const versionOf = ({ metadata: { uid, resourceVersion } }: KubeObject): object => ({ uid, resourceVersion });

async function unlessLate(write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!isFault(error, "kube-conflict", "kube-not-found")) throw error;
  }
}
