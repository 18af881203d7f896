// Whose an attachment is that was read back from its link, which names no pod: found by its addresses.

import type { Attachment } from "../../ipam/store.ts";
import type { Pod } from "../../kube/core-objects.ts";
import type { NodeEndpoints } from "../../kube/objects.ts";
import { hasEnded } from "../../policy/policy-pod.ts";
import type { SandboxPod } from "./identity.ts";

/**
 * The pod as this node's agent had published it, else as its kubelet tells its addresses. Undefined where neither says it, and where two pods
 * claim an address: one of them had it before.
 */
export function ownerOf(
  { addresses, ifname }: Pick<Attachment, "addresses" | "ifname">,
  published: Pick<NodeEndpoints, "endpoints"> | undefined,
  pods: readonly Pod[],
): SandboxPod | undefined {
  const own = new Set<string>(addresses);
  const endpoints = (published?.endpoints ?? []).filter(
    (one) => one.interface === ifname && one.addresses.every((address) => own.has(address)),
  );
  const [endpoint] = endpoints;
  if (endpoint !== undefined) return endpoints.length === 1 ? podOf(endpoint) : undefined;
  const claimants = pods.filter(
    ({ spec, status }) => spec.hostNetwork !== true && (status.podIPs ?? []).some((one) => own.has(one.ip)),
  );
  const living = claimants.filter((pod) => !hasEnded(pod));
  const [pod] = living;
  if (pod?.metadata.uid === undefined || living.length !== 1) return undefined;
  return podOf({ namespace: pod.metadata.namespace ?? "", name: pod.metadata.name, uid: pod.metadata.uid });
}

const podOf = ({ namespace, name, uid }: Required<SandboxPod>): SandboxPod => ({ namespace, name, uid });
