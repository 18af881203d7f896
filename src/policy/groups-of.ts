// Which security groups a pod is a member of, and which it is not although an object says so.

import type { PolicyPod, RefusedHint } from "./model.ts";
import { type Problem, objectTitle } from "./problem.ts";
import type { ReadBinding, ReadGroup } from "./read-group.ts";
import { type ReadObjects, selectsNamespace } from "./read-objects.ts";
import { type Labels, order, selects } from "./selector.ts";

/** Most groups of one pod. */
export const groupsOfPodMax = 16;

const noLabels: Labels = {};

export interface RefusedGroup {
  name: string;
  why: RefusedHint["why"];
  /** Absent where it is unknown. */
  group?: ReadGroup;
  /** About the object that names it. */
  problem: Problem;
}

export interface PodGroups {
  /** Some object binds the pod: groups judge it, even where none of them can be had. */
  bound: boolean;
  /** Sorted by name, each once. */
  groups: readonly ReadGroup[];
  refused: readonly RefusedGroup[];
}

/** What of a pod decides its groups. */
export type BindablePod = Pick<PolicyPod, "namespace" | "labels" | "serviceAccount">;

/** The union over all bindings and SecurityGroupPolicies of the pod's namespace that select it. */
export function groupsOf(pod: BindablePod, objects: ReadObjects): PodGroups {
  const bindings = (objects.bindings.get(pod.namespace) ?? []).filter((binding) => isBound(binding, pod, objects));
  const groups = new Map<string, ReadGroup>();
  const refused = new Map<string, RefusedGroup>();
  const named = bindings
    .flatMap(({ title, groups }) => groups.map(({ name, path }) => ({ title, name, path })))
    .sort((a, b) => order(a.name, b.name));
  for (const { title, name, path } of named) {
    if (groups.has(name) || refused.has(name)) continue;
    const group = objects.groups.get(name);
    const refuse = (why: RefusedGroup["why"], message: string): void => {
      refused.set(name, {
        name,
        why,
        ...(group === undefined ? {} : { group }),
        problem: { object: title, path, message: `${message}; it allows this pod nothing` },
      });
    };
    const said = objectTitle("SecurityGroup", { name });
    if (group === undefined) refuse("unknown", `there is no ${said}`);
    else if (!selectsNamespace(objects, group.bindableFrom, pod.namespace)) {
      refuse("not bindable", `${said} may not be bound from namespace ${pod.namespace} (its bindableFrom)`);
    } else if (groups.size === groupsOfPodMax) {
      refuse("too many", `${said} would be one more than the ${groupsOfPodMax} groups that a pod can have`);
    } else groups.set(name, group);
  }
  return { bound: bindings.length > 0, groups: [...groups.values()], refused: [...refused.values()] };
}

/** Whether that binding of the pod's namespace selects it. */
export function isBound(
  { pods, serviceAccounts }: Pick<ReadBinding, "pods" | "serviceAccounts">,
  pod: BindablePod,
  objects: ReadObjects,
): boolean {
  if (pods !== undefined && !selects(pods, pod.labels)) return false;
  if (serviceAccounts === undefined) return true;
  const labels = objects.serviceAccounts.get(pod.namespace)?.get(pod.serviceAccount);
  // A pod outlives its account; one that is gone has no labels.
  return selects(serviceAccounts, labels ?? noLabels);
}
