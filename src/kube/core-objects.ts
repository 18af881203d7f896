// Kubernetes' own kinds, each cut down to what we use of it.

import { z } from "zod";
import { namedPortsOf, type PortName } from "./named-ports.ts";
import { defineKind, meta } from "./schema.ts";

/** Times that a server writes: RFC 3339, with microseconds in leases. */
const time = z.string();

const nodeSchema = z.object({
  metadata: meta,
  spec: z
    .object({
      podCIDR: z.string().exactOptional(),
      podCIDRs: z.array(z.string()).exactOptional(),
      providerID: z.string().exactOptional(),
      unschedulable: z.boolean().exactOptional(),
      taints: z
        .array(z.object({ key: z.string(), value: z.string().exactOptional(), effect: z.string() }))
        .exactOptional(),
    })
    .prefault({}),
  status: z
    .object({
      addresses: z.array(z.object({ type: z.string(), address: z.string() })).exactOptional(),
      capacity: z.object({ pods: z.string().exactOptional() }).exactOptional(),
      conditions: z
        .array(
          z.object({
            type: z.string(),
            status: z.string(),
            reason: z.string().exactOptional(),
            message: z.string().exactOptional(),
            lastTransitionTime: time.exactOptional(),
          }),
        )
        .exactOptional(),
    })
    .prefault({}),
});

export type Node = z.output<typeof nodeSchema>;
export const nodes = defineKind(
  { group: "", version: "v1", kind: "Node", plural: "nodes", namespaced: false },
  nodeSchema,
);

interface PodSpec {
  nodeName?: string;
  hostNetwork?: boolean;
  serviceAccountName?: string;
  /** Those of its containers that have names; absent where none has. */
  ports?: readonly PortName[];
}

const containerPorts = z
  .array(
    z.object({
      name: z.string().exactOptional(),
      containerPort: z.int(),
      protocol: z.string().exactOptional(),
    }),
  )
  .exactOptional();

const podSchema = z.object({
  metadata: meta,
  spec: z
    .object({
      nodeName: z.string().exactOptional(),
      hostNetwork: z.boolean().exactOptional(),
      serviceAccountName: z.string().exactOptional(),
      containers: z.array(z.object({ ports: containerPorts })).exactOptional(),
      initContainers: z
        .array(z.object({ restartPolicy: z.string().exactOptional(), ports: containerPorts }))
        .exactOptional(),
    })
    .transform(({ containers = [], initContainers = [], ...spec }): PodSpec => {
      const restartable = initContainers.filter(({ restartPolicy }) => restartPolicy === "Always");
      const ports = namedPortsOf([...containers, ...restartable].flatMap(({ ports: own = [] }) => own));
      return ports === undefined ? spec : { ...spec, ports };
    })
    .prefault({}),
  status: z
    .object({
      phase: z.string().exactOptional(),
      podIP: z.string().exactOptional(),
      podIPs: z.array(z.object({ ip: z.string() })).exactOptional(),
    })
    .prefault({}),
});

/** On the API server's image of a static pod: the uid by which its kubelet and runtime know it. */
export const mirrorAnnotation = "kubernetes.io/config.mirror";

export type Pod = z.output<typeof podSchema>;
export const pods = defineKind({ group: "", version: "v1", kind: "Pod", plural: "pods", namespaced: true }, podSchema);

const configMapSchema = z.object({ metadata: meta, data: z.record(z.string(), z.string()).exactOptional() });

export type ConfigMap = z.output<typeof configMapSchema>;
export const configMaps = defineKind(
  { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps", namespaced: true },
  configMapSchema,
);

const leaseSchema = z.object({
  metadata: meta,
  spec: z
    .object({
      holderIdentity: z.string().exactOptional(),
      leaseDurationSeconds: z.int().exactOptional(),
      acquireTime: time.exactOptional(),
      renewTime: time.exactOptional(),
      leaseTransitions: z.int().exactOptional(),
    })
    .prefault({}),
});

export type Lease = z.output<typeof leaseSchema>;
export const leases = defineKind(
  { group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases", namespaced: true },
  leaseSchema,
);

const eventSchema = z.object({
  metadata: meta,
  involvedObject: z.object({
    apiVersion: z.string().exactOptional(),
    kind: z.string(),
    name: z.string(),
    namespace: z.string().exactOptional(),
    uid: z.string().exactOptional(),
  }),
  type: z.string().exactOptional(),
  reason: z.string().exactOptional(),
  message: z.string().exactOptional(),
  source: z.object({ component: z.string().exactOptional(), host: z.string().exactOptional() }).exactOptional(),
  reportingComponent: z.string().exactOptional(),
  reportingInstance: z.string().exactOptional(),
  firstTimestamp: time.exactOptional(),
  lastTimestamp: time.exactOptional(),
  count: z.int().exactOptional(),
});

export type KubeEvent = z.output<typeof eventSchema>;
export const events = defineKind(
  { group: "", version: "v1", kind: "Event", plural: "events", namespaced: true },
  eventSchema,
);
