// This node's NodeEndpoints: its attachments published for others, from ADD until DEL.

import { isDeepStrictEqual } from "node:util";
import type { Held } from "../../ipam/pool.ts";
import type { Cache } from "../../kube/contract.ts";
import type { Node, Pod } from "../../kube/core-objects.ts";
import { type Endpoint, endpointsMax, type NodeEndpoints } from "../../kube/objects.ts";
import { isPodOf } from "./identity.ts";
import { ownerOf } from "./node-network.ts";

/** Addresses of one endpoint (the schema's). */
const familiesMax = 2;

/** Every attachment of a pod that has finished its ADD, under the uid that the API server has for the pod, in a stable order. */
export function publishedEndpoints(held: readonly Held[], pods: Pick<Cache<Pod>, "get">): Endpoint[] {
  return held
    .flatMap(({ attachment, state, leaving }): Endpoint[] => {
      const { pod, addresses, ifname } = attachment;
      if (pod === undefined || state !== "ready" || leaving || addresses.length === 0) return [];
      const object = pods.get({ namespace: pod.namespace, name: pod.name });
      const uid = (object !== undefined && isPodOf(pod, object) ? object.metadata.uid : undefined) ?? pod.uid;
      if (uid === undefined) return [];
      const { namespace, name } = pod;
      return [{ namespace, name, uid, interface: ifname, addresses: addresses.slice(0, familiesMax) }];
    })
    .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
    .slice(0, endpointsMax);
}

const keyOf = ({ namespace, name, uid, interface: ifname }: Endpoint): string =>
  `${namespace}/${name}/${uid}/${ifname}`;

/** The object as it should be; undefined where `held` is so already. `groups`: the mark by which its pods are judged (`groupsMark`). */
export function wantedEndpoints(
  held: NodeEndpoints | undefined,
  node: Node,
  endpoints: Endpoint[],
  groups?: string,
): NodeEndpoints | undefined {
  const nodeUid = node.metadata.uid ?? "";
  const ownerReferences = [ownerOf(node)];
  const same =
    held?.nodeUid === nodeUid &&
    isDeepStrictEqual(held.endpoints, endpoints) &&
    held.policy?.groups === groups &&
    isDeepStrictEqual(held.metadata.ownerReferences, ownerReferences);
  if (same) return undefined;
  return {
    metadata: { ...(held?.metadata ?? { name: node.metadata.name }), ownerReferences },
    nodeUid,
    endpoints,
    ...(groups === undefined ? {} : { policy: { groups } }),
  };
}
