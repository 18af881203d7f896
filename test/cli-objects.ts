// A small cluster of objects for tests of the tool: two nodes in two families, as agents and controller leave them when all is well.

import type { Lease, Node, Pod } from "../src/kube/core-objects.ts";
import { leases, nodes, pods } from "../src/kube/core-objects.ts";
import type { BlockLedger, NodeEndpoints, NodeNetwork } from "../src/kube/objects.ts";
import { blockLedgers, nodeEndpoints, nodeNetworks } from "../src/kube/objects.ts";
import type { ProgramPod } from "../src/cli/cluster/programs.ts";
import { programPods } from "../src/cli/cluster/programs.ts";
import type { ClusterObjects } from "../src/cli/cluster/read.ts";

/** When everything was made, and the "now" of tests, an hour later. */
export const madeAt = "2026-11-26T10:00:00Z";
export const nowMs = Date.parse("2026-11-26T11:00:00Z");

/** Node `n`: node-1 has 172.30.0.11, 10.4.1.0/24, fd00:30::11 and fd00:4:1::/64. */
export function aNode(n: number, part: { spec?: object; conditions?: object[]; uid?: string } = {}): Node {
  return nodes.parse({
    metadata: { name: `node-${n}`, uid: part.uid ?? `uid-node-${n}`, creationTimestamp: madeAt },
    spec: part.spec ?? { podCIDRs: [`10.4.${n}.0/24`, `fd00:4:${n}::/64`] },
    status: {
      addresses: [
        { type: "InternalIP", address: `172.30.0.1${n}` },
        { type: "InternalIP", address: `fd00:30::1${n}` },
        { type: "Hostname", address: `node-${n}` },
      ],
      capacity: { pods: "110" },
      conditions: part.conditions ?? [{ type: "Ready", status: "True" }],
    },
  });
}

export function aNetwork(
  n: number,
  part: { spec?: object; status?: object | null; generation?: number } = {},
): NodeNetwork {
  const status = {
    nodeUid: `uid-node-${n}`,
    observedGeneration: 1,
    blocks: [{ cidr: `10.4.${n}.0/24` }, { cidr: `fd00:4:${n}::/64` }],
    addresses: [`172.30.0.1${n}`, `fd00:30::1${n}`],
    conditions: [{ type: "BlocksReady", status: "True", reason: "Assigned", message: "", lastTransitionTime: madeAt }],
    ...part.status,
  };
  return nodeNetworks.parse({
    metadata: { name: `node-${n}`, uid: `uid-nn-${n}`, generation: part.generation ?? 1, creationTimestamp: madeAt },
    spec: { nodeUid: `uid-node-${n}`, agentVersion: "0.1.0", ...part.spec },
    ...(part.status === null ? {} : { status }),
  });
}

export interface EndpointPart {
  pod: string;
  uid?: string;
  addresses: readonly string[];
}

export function someEndpoints(n: number, parts: readonly EndpointPart[], nodeUid = `uid-node-${n}`): NodeEndpoints {
  return nodeEndpoints.parse({
    metadata: { name: `node-${n}`, uid: `uid-ne-${n}`, creationTimestamp: madeAt },
    nodeUid,
    endpoints: parts.map(({ pod, uid = `uid-${pod}`, addresses }) => ({
      namespace: "shop",
      name: pod,
      uid,
      interface: "eth0",
      addresses,
    })),
  });
}

/** A pod of namespace "shop" with uid "uid-NAME". */
export function aPod(
  name: string,
  part: {
    node?: string;
    ips?: readonly string[];
    namespace?: string;
    spec?: object;
    status?: object;
    meta?: object;
  } = {},
): Pod {
  return pods.parse({
    metadata: {
      name,
      namespace: part.namespace ?? "shop",
      uid: `uid-${name}`,
      creationTimestamp: madeAt,
      ...part.meta,
    },
    spec: { ...(part.node === undefined ? {} : { nodeName: part.node }), ...part.spec },
    status: {
      phase: "Running",
      ...(part.ips === undefined ? {} : { podIPs: part.ips.map((ip) => ({ ip })) }),
      ...part.status,
    },
  });
}

export function aLedger(part: object = {}): BlockLedger {
  const used = Buffer.alloc(32); // 256 blocks, of which 1 and 2 are given
  used[0] = 0b0110_0000;
  return blockLedgers.parse({
    metadata: { name: "v4-10-4-0-0-16", uid: "uid-ledger" },
    spec: { range: "10.4.0.0/16", blockPrefix: 24, used: used.toString("base64"), cursor: 3, pending: [], ...part },
  });
}

export function aLease(part: object = {}, namespace = "fairlead-system"): Lease {
  return leases.parse({
    metadata: { name: "fairlead-controller", namespace, uid: "uid-lease" },
    spec: {
      holderIdentity: "node-1_9f1c2d3e-0000-4000-8000-000000000000",
      leaseDurationSeconds: 15,
      acquireTime: "2026-11-26T10:30:00.000000Z",
      renewTime: "2026-11-26T10:59:58.000000Z",
      leaseTransitions: 2,
      ...part,
    },
  });
}

/** A pod of Fairlead itself; it runs unless `status` says else. */
export function aProgram(component: "agent" | "controller", node: string, status: object = {}): ProgramPod {
  return programPods.parse({
    metadata: {
      name: `fairlead-${component}-${node}`,
      namespace: "fairlead-system",
      labels: { "app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": component },
      creationTimestamp: madeAt,
    },
    spec: { nodeName: node, containers: [{ image: "fairlead.dev/fairlead:0.1.0" }] },
    status: { phase: "Running", containerStatuses: [{ ready: true, restartCount: 0 }], ...status },
  });
}

/** Pods web (node-1), db (node-2), api (node-2) and a hostNetwork pod, all attached, with a leading controller. `part` replaces kinds. */
export function aCluster(part: Partial<ClusterObjects> = {}): ClusterObjects {
  const [web, db, api] = [
    ["10.4.1.2", "fd00:4:1::2"],
    ["10.4.2.2", "fd00:4:2::2"],
    ["10.4.2.3", "fd00:4:2::3"],
  ] as const;
  return {
    nodes: [aNode(1), aNode(2)],
    networks: [aNetwork(1), aNetwork(2)],
    endpoints: [
      someEndpoints(1, [{ pod: "web", addresses: web }]),
      someEndpoints(2, [
        { pod: "api", addresses: api },
        { pod: "db", addresses: db },
      ]),
    ],
    ledgers: [aLedger()],
    pods: [
      aPod("web", { node: "node-1", ips: web }),
      aPod("db", { node: "node-2", ips: db }),
      aPod("api", { node: "node-2", ips: api }),
      aPod("proxy", { node: "node-1", ips: ["172.30.0.11"], spec: { hostNetwork: true } }),
    ],
    leases: [aLease()],
    programs: [],
    ...part,
  };
}
