// Pods that may send from addresses that are not theirs: those that ask for it, in namespaces that let their pods ask.

import type { Namespace } from "../kube/policy-objects.ts";
import type { PolicyPod } from "./model.ts";
import { objectTitle, type Problem, reporter } from "./problem.ts";

/** On a pod: "off". On its namespace: "per-pod", without which the pod's word counts for nothing. */
export const sourceGuardAnnotation = "fairlead.dev/source-guard";
const [off, perPod] = ["off", "per-pod"];
const path = `metadata.annotations[${JSON.stringify(sourceGuardAnnotation)}]`;

export type GuardedPod = Pick<PolicyPod, "namespace" | "name" | "sourceGuard">;

/** Names of namespaces whose pods may leave the guard. */
export function perPodNamespaces(namespaces: readonly Namespace[], problems: Problem[]): Set<string> {
  return new Set(
    namespaces.flatMap(({ metadata: { name, annotations } }) => {
      const text = annotations?.[sourceGuardAnnotation];
      if (text === undefined) return [];
      if (text === perPod) return [name];
      const report = reporter(objectTitle("Namespace", { name }), problems);
      report(path, `${JSON.stringify(text)} is not ${perPod}; its pods send from their own addresses only`);
      return [];
    }),
  );
}

/** Whether a pod may send from any address. */
export function isUnguarded({ namespace, sourceGuard }: GuardedPod, perPod: ReadonlySet<string>): boolean {
  return sourceGuard === off && perPod.has(namespace);
}

/** What is wrong with a pod's wish: it is no wish that is known, or its namespace lets nobody ask. */
export function guardProblems(pod: GuardedPod, namespaces: ReadonlySet<string>): Problem[] {
  const { namespace, name, sourceGuard } = pod;
  if (sourceGuard === undefined || isUnguarded(pod, namespaces)) return [];
  const why =
    sourceGuard === off
      ? `counts only where Namespace ${namespace} has the same annotation with the value ${perPod}`
      : `${JSON.stringify(sourceGuard)} is not ${off}`;
  const message = `${why}; the pod sends from its own addresses only`;
  return [{ object: objectTitle("Pod", { namespace, name }), path, message }];
}
