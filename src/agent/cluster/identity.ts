// Which pod a sandbox is of: the runtime's words held against the pods that the API server knows on this node.

import { Fault, isFault } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import type { Attachment } from "../../ipam/store.ts";
import type { Cache, Kube } from "../../kube/contract.ts";
import { mirrorAnnotation, type Pod, pods } from "../../kube/core-objects.ts";

/** Longest that an ADD waits for the API server's word on a pod that the cache does not know. */
export const askWithinMs = 2_000;

export type SandboxPod = NonNullable<Attachment["pod"]>;

/** True where `pod` is the object of that sandbox: same uid, or the mirror of the static pod of that uid. */
export function isPodOf({ uid }: SandboxPod, pod: Pod): boolean {
  return uid === undefined || pod.metadata.uid === uid || pod.metadata.annotations?.[mirrorAnnotation] === uid;
}

export interface IdentityDeps {
  kube: Kube;
  cache: Pick<Cache<Pod>, "get" | "status">;
  nodeName: string;
  log: Log;
  signal: AbortSignal;
}

/**
 * Lets an ADD go on unless its sandbox is known to be dead, with the pod's object where there is one. What the cache cannot settle is asked of the API server, once: no
 * such pod is a static pod without its mirror yet, or one that kubelet is about to delete, and no answer is an outage; both go on.
 * @throws Fault "pod-replaced" where another pod has the name now, or the pod is bound to another node
 */
export async function admitPod(sandbox: SandboxPod, deps: IdentityDeps): Promise<Pod | undefined> {
  const { namespace, name } = sandbox;
  const cached = deps.cache.get({ namespace, name });
  if (cached !== undefined && isPodOf(sandbox, cached)) return cached;
  // In an outage every ADD would wait for nothing.
  const { failures, lastError } = deps.cache.status();
  if (failures > 0) {
    deps.log.warn({ pod: `${namespace}/${name}`, error: lastError }, "attached on the runtime's word alone");
    return undefined;
  }
  const pod = await ask(sandbox, deps);
  if (pod === undefined) return undefined;
  if (!isPodOf(sandbox, pod)) {
    throw new Fault(
      "pod-replaced",
      `pod ${namespace}/${name} is another one now (uid ${pod.metadata.uid}, this sandbox is of ${sandbox.uid}); nothing is attached`,
    );
  }
  const { nodeName } = pod.spec;
  if (nodeName !== undefined && nodeName !== deps.nodeName) {
    throw new Fault("pod-replaced", `pod ${namespace}/${name} is bound to node ${nodeName}, not to ${deps.nodeName}`);
  }
  return pod;
}

async function ask({ namespace, name }: SandboxPod, { kube, log, signal }: IdentityDeps): Promise<Pod | undefined> {
  try {
    return await kube.get(
      pods,
      { namespace, name },
      { signal: AbortSignal.any([signal, AbortSignal.timeout(askWithinMs)]) },
    );
  } catch (error) {
    if (isFault(error, "kube-not-found")) return undefined;
    log.warn({ pod: `${namespace}/${name}`, error: String(error) }, "attached on the runtime's word alone");
    return undefined;
  }
}
