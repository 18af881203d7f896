// A pod of the API server as policy sees it. Pure.

import type { Pod } from "../kube/core-objects.ts";
import type { Ip } from "../net/ip.ts";
import type { NamedPort, PolicyPod } from "./model.ts";
import { sourceGuardAnnotation } from "./source-guard.ts";

/** IP protocols by the names that Kubernetes has for them (IANA's numbers). */
const protocolNumbers: ReadonlyMap<string, number> = new Map([
  ["TCP", 6],
  ["UDP", 17],
  ["SCTP", 132],
]);

/** True once its containers have ended for good: its addresses may be another pod's from then on. */
export const hasEnded = ({ status: { phase } }: Pick<Pod, "status">): boolean =>
  phase === "Succeeded" || phase === "Failed";

/**
 * The pod, where `addresses` are those of its attachments; none of one that has ended. Undefined where policy knows no such pod: on
 * its node's network, or bound to no node yet.
 */
export function policyPodOf(pod: Pod, addresses: readonly Ip[]): PolicyPod | undefined {
  const { metadata, spec } = pod;
  const { name, namespace, uid } = metadata;
  const sourceGuard = metadata.annotations?.[sourceGuardAnnotation];
  if (spec.hostNetwork === true || spec.nodeName === undefined || namespace === undefined || uid === undefined)
    return undefined;
  return {
    namespace,
    name,
    uid,
    labels: metadata.labels ?? {},
    // The API server fills it in; only a static pod has none.
    serviceAccount: spec.serviceAccountName ?? "default",
    node: spec.nodeName,
    addresses: hasEnded(pod) ? [] : addresses,
    ports: namedPorts(spec.ports ?? []),
    ...(sourceGuard === undefined ? {} : { sourceGuard }),
  };
}

/** Ports with names, as Kubernetes writes them; one of a protocol that has no ports is none. */
export function namedPorts(ports: readonly { name: string; protocol: string; port: number }[]): NamedPort[] {
  return ports.flatMap(({ name, protocol, port }) => {
    const number = protocolNumbers.get(protocol);
    return number === undefined ? [] : [{ name, protocol: number, port }];
  });
}
