// One Node from storage, by the uid that is meant: what a cache cannot promise.

import { isFault } from "../base/fault.ts";
import type { Kube } from "../kube/contract.ts";
import { type Node, nodes } from "../kube/core-objects.ts";

/** The newest of that Node; undefined where it is gone, or another has come under its name. */
export async function readNode(
  kube: Pick<Kube, "get">,
  { name, uid }: { name: string; uid: string },
  signal: AbortSignal,
): Promise<Node | undefined> {
  try {
    const node = await kube.get(nodes, { name }, { signal });
    return node.metadata.uid === uid ? node : undefined;
  } catch (error) {
    if (isFault(error, "kube-not-found")) return undefined;
    throw error;
  }
}
