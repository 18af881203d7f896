// Fairlead's own pods as a cluster runs them: which images, and what keeps them from running.

import { z } from "zod";
import { defineKind, meta } from "../../kube/schema.ts";

/** What deploy/ puts on every object of ours. */
export const programSelector = "app.kubernetes.io/name=fairlead";
const componentLabel = "app.kubernetes.io/component";

const containerState = z.object({
  waiting: z.object({ reason: z.string().exactOptional(), message: z.string().exactOptional() }).exactOptional(),
});

const programPodSchema = z.object({
  metadata: meta,
  spec: z
    .object({
      nodeName: z.string().exactOptional(),
      containers: z.array(z.object({ image: z.string().exactOptional() })).exactOptional(),
    })
    .prefault({}),
  status: z
    .object({
      phase: z.string().exactOptional(),
      conditions: z
        .array(z.object({ type: z.string(), status: z.string(), message: z.string().exactOptional() }))
        .exactOptional(),
      containerStatuses: z
        .array(z.object({ ready: z.boolean(), restartCount: z.int().default(0), state: containerState.prefault({}) }))
        .exactOptional(),
    })
    .prefault({}),
});

export type ProgramPod = z.output<typeof programPodSchema>;
/** Pods again, with the parts that only matter of our own. */
export const programPods = defineKind(
  { group: "", version: "v1", kind: "Pod", plural: "pods", namespaced: true },
  programPodSchema,
);

export type Program = "agent" | "controller";

export function programOf({ metadata }: ProgramPod): Program | undefined {
  const component = metadata.labels?.[componentLabel];
  return component === "agent" || component === "controller" ? component : undefined;
}

/** The version that a pod's image is of: its tag, if it has one. */
export function imageVersion({ spec }: ProgramPod): string | undefined {
  const image = spec.containers?.[0]?.image ?? "";
  return /:([\w.-]+)$/.exec(image.replace(/@.*$/, ""))?.[1];
}

/** Why the pod does not run, in the kubelet's words; undefined where it runs. */
export function whyNotRunning({ status }: ProgramPod): string | undefined {
  const [container] = status.containerStatuses ?? [];
  if (status.phase === "Running" && container?.ready === true) return undefined;
  const waiting = container?.state.waiting;
  if (waiting?.reason !== undefined) return waiting.reason;
  const unscheduled = status.conditions?.find(({ type, status: held }) => type === "PodScheduled" && held === "False");
  if (unscheduled !== undefined) return unscheduled.message ?? "it is not scheduled";
  return container === undefined ? (status.phase ?? "it has not started") : "it is not ready";
}
