// One Node from storage, by the uid that is meant: what a cache cannot promise.

import type { Kube } from "../kube/contract.ts";
import { type Node, nodes } from "../kube/core-objects.ts";
import { ifThere } from "../kube/if-there.ts";

/** The newest of that Node; undefined where it is gone, or another has come under its name. */
export async function readNode(
  kube: Pick<Kube, "get">,
  { name, uid }: { name: string; uid: string },
  signal: AbortSignal,
): Promise<Node | undefined> {
  const node = await ifThere(kube.get(nodes, { name }, { signal }));
  return node?.metadata.uid === uid ? node : undefined;
}
