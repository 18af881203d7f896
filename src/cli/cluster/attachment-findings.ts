// Where the attachments that agents publish and the pods of the cluster do not agree: pure.

import type { Pod } from "../../kube/core-objects.ts";
import type { Endpoint } from "../../kube/objects.ts";
import { cidrContains } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import type { Finding } from "./finding.ts";
import { blocksOf, type ClusterView, hasEnded, isOfPod, podAddresses, wantsNetwork } from "./view.ts";

/** All disagreements. */
export function attachmentFindings(view: ClusterView): Finding[] {
  return [
    ...view.pods.flatMap((pod) => podFindings(pod, view)),
    ...view.endpoints.flatMap(({ metadata, endpoints }) =>
      endpoints.flatMap((endpoint) => endpointFindings(metadata.name, endpoint, view)),
    ),
    ...twice(view),
  ];
}

const nameOf = ({ metadata: { namespace = "", name } }: Pod): string => `${namespace}/${name}`;
const sinceOf = (pod: Pod): { since?: string } =>
  pod.metadata.creationTimestamp === undefined ? {} : { since: pod.metadata.creationTimestamp };

/** A pod that has addresses by its status, against what its node publishes. */
function podFindings(pod: Pod, view: ClusterView): Finding[] {
  const { nodeName } = pod.spec;
  const told = podAddresses(pod);
  if (nodeName === undefined || told.length === 0 || !wantsNetwork(pod)) return [];
  // A node that publishes nothing is one finding, not one for each of its pods.
  if (view.endpointsOf(nodeName) === undefined) return [];
  const { namespace = "", name } = pod.metadata;
  const own = view.attachments(namespace, name).filter(({ endpoint }) => isOfPod(endpoint.uid, pod));
  const about = { state: "bad", node: nodeName, object: `Pod ${nameOf(pod)}`, ...sinceOf(pod) } as const;
  if (own.length === 0) {
    return [
      {
        ...about,
        code: "pod-unpublished",
        says: `has ${told.join(" ")}, and NodeEndpoints ${nodeName} knows no attachment of it`,
        cure: `fairlead pods on ${nodeName}: where it is there, look at the agent's log; where it is not, another plugin attached it: delete the pod`,
      },
    ];
  }
  const held = new Set(own.flatMap(({ endpoint }) => endpoint.addresses));
  const strange = told.filter((address) => !held.has(address));
  if (strange.length === 0) return [];
  return [
    {
      ...about,
      code: "pod-other-address",
      says: `tells ${strange.join(" ")}, its attachment has ${[...held].join(" ")}`,
      cure: "delete the pod; it is made anew",
    },
  ];
}

/** One attachment against its pod and its node's blocks. */
function endpointFindings(node: string, endpoint: Endpoint, view: ClusterView): Finding[] {
  const { namespace, name, uid, addresses, interface: ifname } = endpoint;
  const about = { node, object: `NodeEndpoints ${node}` };
  const shown = `${namespace}/${name} (${ifname}, ${addresses.join(" ")})`;
  const found: Finding[] = [];
  const stale = staleness(node, endpoint, view.pod(namespace, name));
  if (stale !== undefined) {
    found.push({
      state: "warn",
      code: "endpoint-without-pod",
      ...about,
      object: `NodeEndpoints ${node}: ${shown}, uid ${uid}`,
      says: stale,
      cure: `it goes with the DEL of its sandbox; if it stays: fairlead check on ${node}, and see the runtime's sandboxes (crictl pods)`,
    });
  }
  const blocks = blocksOf(view.network(node), view.node(node));
  const outside =
    blocks.length === 0 ? [] : addresses.filter((address) => !blocks.some((block) => cidrContains(block, address)));
  if (outside.length > 0) {
    found.push({
      state: "bad",
      code: "endpoint-outside-blocks",
      ...about,
      object: `NodeEndpoints ${node}: ${shown}`,
      says: `${outside.join(" ")} lies in no block of ${node} (${blocks.join(" ")}): no other node has a route to it`,
      cure: "delete the pod; it gets an address of the node's blocks",
    });
  }
  return found;
}

/** Why the attachment is of no pod that lives; undefined where it is of one. */
function staleness(node: string, { uid }: Endpoint, pod: Pod | undefined): string | undefined {
  if (pod === undefined) return "its pod is gone";
  if (!isOfPod(uid, pod)) return `the pod of this name is another now (uid ${pod.metadata.uid})`;
  if (pod.spec.nodeName !== undefined && pod.spec.nodeName !== node)
    return `its pod is bound to node ${pod.spec.nodeName}`;
  return undefined;
}

/** Addresses that several living pods have, by their attachments or by their status. */
function twice(view: ClusterView): Finding[] {
  const claims = new Map<Ip, Map<string, string>>();
  const claim = (address: Ip, who: string, node: string): void => {
    const held = claims.get(address) ?? new Map<string, string>();
    claims.set(address, held.set(who, node));
  };
  for (const { metadata, endpoints } of view.endpoints) {
    for (const { namespace, name, uid, addresses } of endpoints) {
      for (const address of addresses) claim(address, `${namespace}/${name} (${uid})`, metadata.name);
    }
  }
  for (const pod of view.pods) {
    if (!wantsNetwork(pod) || hasEnded(pod)) continue;
    const published = view.attachments(pod.metadata.namespace ?? "", pod.metadata.name);
    // Where it is published the attachment speaks for it, under the uid that stands there.
    if (published.some(({ endpoint }) => isOfPod(endpoint.uid, pod))) continue;
    for (const address of podAddresses(pod))
      claim(address, `${nameOf(pod)} (${pod.metadata.uid})`, pod.spec.nodeName ?? "");
  }
  return [...claims].flatMap(([address, who]): Finding[] => {
    if (who.size < 2) return [];
    const holders = [...who].map(([pod, node]) => `${pod} on ${node}`).toSorted();
    return [
      {
        state: "bad",
        code: "address-twice",
        object: `address ${address}`,
        says: `${who.size} pods have it: ${holders.join(", ")}`,
        cure: "delete all but one of them; then see which of the nodes does not own the block that it lies in",
      },
    ];
  });
}
