// The keys by which a configuration file says where the Kubernetes API is and who we are there.

import { z } from "zod";

/** `kubernetes:` of agent and controller. Empty: the service account of the pod that we run in. */
export const kubernetesKeys = z.strictObject({
  /** Overrides where the API server is: for nodes on which its service address does not work yet. */
  server: z
    .string()
    .regex(/^https:\/\/[^/?#@\s]+$/, "must be https://HOST or https://HOST:PORT")
    .exactOptional(),
  /** A file as kubectl uses it, in place of the service account. */
  kubeconfig: z.string().startsWith("/", "must be an absolute path").max(4000).exactOptional(),
});

export type KubernetesKeys = z.output<typeof kubernetesKeys>;
