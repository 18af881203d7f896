// A lab with policy for proofs under traffic: real agents and a real controller, pods without any server in them, objects made in one line.

import type { TestContext } from "node:test";
import type { Api } from "../../lab/api.ts";
import { type Cluster, startCluster } from "../../lab/cluster.ts";
import { removeLab } from "../../lab/down.ts";
import type { Kubernetes } from "../../lab/kubernetes.ts";
import { type Addresses, planCluster } from "../../lab/layout.ts";
import type { PodWish } from "../../lab/pod-object.ts";
import { createLab, type Lab } from "../../lab/record.ts";
import { startWarden } from "../../lab/warden.ts";
import { present } from "../../src/base/assert.ts";

/** Calls to the API server at once. */
const callsAtOnce = 8;

export interface FirePod {
  name: string;
  namespace: string;
  node: string;
  netns: string;
  addresses: Addresses;
}

export interface FireLab {
  lab: Lab;
  cluster: Cluster;
  kubernetes: Kubernetes;
  api: Api;
  /** Makes the pod's object and attaches it as a runtime does; `prepare` is called before the plugin is. */
  addPod: (name: string, wish: PodWish, prepare?: (netns: string) => Promise<void>) => Promise<FirePod>;
  /** Makes an object of a kind of ours, or a NetworkPolicy. */
  create: (kind: PolicyKind, object: Named) => Promise<void>;
  replace: (kind: PolicyKind, object: Named) => Promise<void>;
  remove: (kind: PolicyKind, object: Named) => Promise<void>;
}

export type PolicyKind = "NetworkPolicy" | "SecurityGroup" | "SecurityGroupBinding";

export interface Named {
  metadata: { name: string; namespace?: string };
  spec: object;
}

/** Makes a lab with Kubernetes around its nodes; it is taken down when `t` ends, or when this process dies. */
export async function makeFireLab(t: TestContext, { nodes }: { nodes: number }): Promise<FireLab> {
  const name = `fire${process.pid}`;
  const lab = createLab({ name });
  const warden = startWarden(lab);
  t.after(async () => {
    lab.close();
    await removeLab(name);
    warden.dismiss();
  });
  const plan = planCluster({ lab: name, nodes, families: [4, 6], gateway: true, control: true });
  const cluster = await startCluster(lab, plan);
  const kubernetes = present(cluster.kubernetes, "Kubernetes");
  const api = kubernetes.connect(callsAtOnce);
  const spoken = (kind: PolicyKind, object: Named): object => ({ kind, apiVersion: groupOf(kind), ...object });
  return {
    lab,
    cluster,
    kubernetes,
    api,
    addPod: async (pod, wish, prepare) => {
      const { node, namespace = "default" } = wish;
      const uid = await kubernetes.bindPod(pod, wish);
      const sandbox = await cluster
        .node(node)
        .runtime.add(pod, { uid, namespace, ...(prepare === undefined ? {} : { prepare }) });
      const { addresses } = present(sandbox.result, "result of ADD");
      return { name: pod, namespace, node, netns: sandbox.netns, addresses };
    },
    create: async (kind, object) => void (await api.must("POST", collectionOf(kind, object), spoken(kind, object))),
    replace: async (kind, object) => {
      const path = `${collectionOf(kind, object)}/${object.metadata.name}`;
      await api.must(
        "PATCH",
        path,
        [{ op: "replace", path: "/spec", value: object.spec }],
        "application/json-patch+json",
      );
    },
    remove: async (kind, object) =>
      void (await api.must("DELETE", `${collectionOf(kind, object)}/${object.metadata.name}`)),
  };
}

const groupOf = (kind: PolicyKind): string =>
  kind === "NetworkPolicy" ? "networking.k8s.io/v1" : "fairlead.dev/v1alpha1";

function collectionOf(kind: PolicyKind, { metadata: { namespace } }: Named): string {
  const plural = {
    NetworkPolicy: "networkpolicies",
    SecurityGroup: "securitygroups",
    SecurityGroupBinding: "securitygroupbindings",
  }[kind];
  return `/apis/${groupOf(kind)}${namespace === undefined ? "" : `/namespaces/${namespace}`}/${plural}`;
}

/** CLOCK_MONOTONIC in ms, as the Python programs have it. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** The value at that share of `values`, which need no order; NaN where there are none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
