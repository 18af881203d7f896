// One object of ours kept as it should be: created, replaced when it differs, written anew over whoever was faster.

import { Fault, isFault } from "../../base/fault.ts";
import { ifThere } from "../../kube/if-there.ts";
import type { Kind, Kube, KubeObject } from "../../kube/contract.ts";

/** Writers of one object are few; one that loses this often is told. */
const keepTriesMax = 4;

export interface KeepOptions<T extends KubeObject> {
  kube: Kube;
  kind: Kind<T>;
  name: string;
  /** As it was seen last; it may be older than what was written last. */
  seen: () => T | undefined;
  /** As it should be, made from what is there; undefined where that is so already. */
  wanted: (held: T | undefined) => T | undefined;
  signal: AbortSignal;
}

/**
 * Gives true where it was written. What the cache has not seen yet is found out by the server's refusal.
 * @throws Fault "kube-…"
 */
export async function keepObject<T extends KubeObject>(options: KeepOptions<T>): Promise<boolean> {
  const { kube, kind, name, seen, wanted, signal } = options;
  let held = seen();
  for (let tries = 1; tries <= keepTriesMax; tries += 1) {
    const object = wanted(held);
    if (object === undefined) return false;
    try {
      await (held === undefined ? kube.create(kind, object, { signal }) : kube.replace(kind, object, { signal }));
      return true;
    } catch (error) {
      if (!isFault(error, "kube-conflict", "kube-exists", "kube-not-found")) throw error;
      held = await current(options);
    }
  }
  throw new Fault(
    "kube-conflict",
    `${kind.kind} ${name} was changed by others ${keepTriesMax} times while it was written`,
  );
}

function current<T extends KubeObject>({ kube, kind, name, signal }: KeepOptions<T>): Promise<T | undefined> {
  return ifThere(kube.get(kind, { name }, { signal }));
}
