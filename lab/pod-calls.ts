// What scheduler and kubelets tell the API server of pods, and what agents have told it of them.

import { z } from "zod";
import type { Api } from "./api.ts";
import type { Addresses } from "./layout.ts";
import { namespaceDefault, podObject, type PodWish } from "./pod-object.ts";

/** What is known of a pod's attachments by the API server. */
export interface Published {
  namespace: string;
  pod: string;
  uid: string;
  addresses: string[];
}

/** A pod by its name, in `namespace`. */
export interface PodCalls {
  /** Binds a new pod to a node, as the scheduler does; gives its uid. */
  bindPod(name: string, wish: PodWish): Promise<string>;
  /** Tells that the pod runs, as its kubelet does. */
  podRuns(name: string, namespace: string, addresses: Addresses): Promise<void>;
  /** Tells that nothing of the pod is left: the object goes. */
  podGone(name: string, namespace: string): Promise<void>;
  /** What the node's agent has published. */
  published(node: string): Promise<Published[]>;
}

const withUid = z.object({ metadata: z.object({ uid: z.string() }) });
const endpointsSchema = z.object({
  endpoints: z.array(
    z.object({ namespace: z.string(), name: z.string(), uid: z.string(), addresses: z.array(z.string()) }),
  ),
});

/** Calls by an administrator. */
export function podCalls(api: Api): PodCalls {
  const podsPath = (namespace: string): string => `/api/v1/namespaces/${namespace}/pods`;
  return {
    bindPod: async (name, wish) => {
      const path = podsPath(wish.namespace ?? namespaceDefault);
      return withUid.parse(await api.must("POST", path, podObject(name, wish))).metadata.uid;
    },
    podRuns: async (name, namespace, addresses) => {
      const podIPs = Object.values(addresses).map((ip) => ({ ip }));
      const status = { phase: "Running", podIP: podIPs[0]?.ip, podIPs };
      await api.must("PATCH", `${podsPath(namespace)}/${name}/status`, { status }, "application/merge-patch+json");
    },
    podGone: async (name, namespace) => {
      const options = { kind: "DeleteOptions", apiVersion: "v1", gracePeriodSeconds: 0 };
      await api.must("DELETE", `${podsPath(namespace)}/${name}`, options);
    },
    published: async (node) => {
      const { status, body } = await api.ask("GET", `/apis/fairlead.dev/v1alpha1/nodeendpoints/${node}`);
      if (status === 404) return [];
      return endpointsSchema.parse(body).endpoints.map(({ name, ...rest }) => ({ pod: name, ...rest }));
    },
  };
}
