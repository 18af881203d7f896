// How many pods each binding selects, whatever becomes of its groups.

import type { Pod } from "../../kube/core-objects.ts";
import type { SecurityGroupBinding } from "../../kube/policy-objects.ts";
import { isBound } from "../../policy/groups-of.ts";
import { hasEnded, policyPodOf } from "../../policy/policy-pod.ts";
import { objectTitle } from "../../policy/problem.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";

/** Counts among these pods; those of a namespace without bindings are not looked at. Ended pods, and those of the host's network, do not count. */
export function createBoundPods(
  pods: Iterable<Pod>,
  objects: ReadObjects,
): (binding: Pick<SecurityGroupBinding, "metadata">) => number {
  const counts = new Map<string, number>();
  for (const pod of pods) {
    const bindings = objects.bindings.get(pod.metadata.namespace ?? "");
    if (bindings === undefined || hasEnded(pod)) continue;
    const judged = policyPodOf(pod, []);
    if (judged === undefined) continue; // of the host's network, or nowhere yet
    for (const binding of bindings) {
      if (isBound(binding, judged, objects)) counts.set(binding.title, (counts.get(binding.title) ?? 0) + 1);
    }
  }
  return ({ metadata }) => counts.get(objectTitle("SecurityGroupBinding", metadata)) ?? 0;
}
