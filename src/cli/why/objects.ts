// What decides about traffic, read from a cluster: the objects of `fairlead route`, and every kind that says who may talk to whom.

import type { Kind, KubeObject } from "../../kube/contract.ts";
import type { Pod } from "../../kube/core-objects.ts";
import {
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "../../kube/policy-objects.ts";
import type { Ip } from "../../net/ip.ts";
import type { PolicyObjects, PolicyPod } from "../../policy/model.ts";
import { policyPodOf } from "../../policy/policy-pod.ts";
import type { Problem } from "../../policy/problem.ts";
import { ifKnown } from "../../kube/if-there.ts";
import type { OpenCluster } from "../cluster/open.ts";
import { type ClusterObjects, readCluster, readFault } from "../cluster/read.ts";
import { type ClusterView, isOfPod, nodeAddresses, podAddresses } from "../cluster/view.ts";

export interface Deciding {
  cluster: ClusterObjects;
  policy: PolicyObjects;
  /** What does not count beside what is within these objects. */
  problems?: readonly Problem[];
}

/** Reads all of it, all kinds at once. @throws Fault of one plain sentence: see `readFault` */
export async function readDeciding(cluster: OpenCluster): Promise<Deciding> {
  const list = async <T extends KubeObject>(kind: Kind<T>): Promise<T[]> => (await cluster.kube.list(kind)).items;
  const wanted = [
    list(namespaces),
    list(serviceAccounts),
    list(networkPolicies),
    list(securityGroups),
    list(securityGroupBindings),
    ifKnown(cluster.kube.list(securityGroupPolicies)),
  ] as const;
  const [objects, ...settled] = await Promise.allSettled([readCluster(cluster), ...wanted]);
  if (objects.status === "rejected") throw objects.reason;
  const failures = settled.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
  if (failures.length > 0) throw readFault(failures, cluster.place.server);
  const [inNamespaces, accounts, policies, groups, bindings, groupPolicies] = await Promise.all(wanted);
  return {
    cluster: objects.value,
    policy: {
      namespaces: inNamespaces,
      serviceAccounts: accounts,
      networkPolicies: policies,
      groups,
      bindings,
      groupPolicies,
    },
  };
}

/** Every pod with a network of its own, with the addresses of its attachment, or, before there is one, those that its status tells. */
export function policyPods(view: ClusterView): PolicyPod[] {
  return view.pods.flatMap((pod) => policyPodOf(pod, addressesOf(pod, view)) ?? []);
}

/** An attachment elsewhere than where the pod is bound is none of it: it is a member of nothing. */
function addressesOf(pod: Pod, view: ClusterView): Ip[] {
  const { namespace = "", name } = pod.metadata;
  const own = view.attachments(namespace, name).filter(({ endpoint }) => isOfPod(endpoint.uid, pod));
  if (own.length === 0) return podAddresses(pod);
  return own.filter(({ node }) => node === pod.spec.nodeName).flatMap(({ endpoint }) => endpoint.addresses);
}

/** By name: where its kubelet says that it is reached, and where the controller does. */
export function addressesOfNodes(view: ClusterView): Map<string, Ip[]> {
  return new Map(
    view.nodes.map((node) => {
      const { name } = node.metadata;
      return [name, [...new Set([...nodeAddresses(node), ...(view.network(name)?.status?.addresses ?? [])])]];
    }),
  );
}
