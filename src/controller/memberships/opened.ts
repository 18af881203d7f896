// Whose break-glass opens pods now: by what is annotated, and by what agents say that their nodes still let pass.

import type { Cache } from "../../kube/contract.ts";
import type { Node } from "../../kube/core-objects.ts";
import { type NodeNetwork, policyOpened } from "../../kube/objects.ts";
import { annotatedNodes, breakGlassAt, nextEdgeMs, tellsOfBreakGlass } from "../../policy/break-glass.ts";
import { objectTitle } from "../../policy/problem.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";

export interface Opened {
  /** The object whose break-glass opens the pods of that namespace on that node, "Namespace shop"; undefined where none does. */
  by: (namespace: string, node: string) => string | undefined;
  /** When the next that is annotated begins or ends, in milliseconds since 1970; Infinity where none does. */
  edgeMs: number;
}

export interface OpenedCaches {
  nodes: Pick<Cache<Node>, "all">;
  networks: Pick<Cache<NodeNetwork>, "get">;
}

/** As the caches and the clock are now. An agent's word counts beside what is annotated: it may not have heard that it is over. */
export function openedNow(
  { nodes, networks }: OpenedCaches,
  objects: Pick<ReadObjects, "breakGlass">,
  nowMs: number,
): Opened {
  const annotated = breakGlassAt(objects, annotatedNodes(nodes.all()), nowMs);
  const isSaid = (title: string, node: string): boolean =>
    networks
      .get({ name: node })
      ?.spec.faults?.some(({ code, message }) => code === policyOpened && tellsOfBreakGlass(message, title)) === true;
  return {
    by: (namespace, node) =>
      annotated.of({ namespace, node })?.title ??
      [objectTitle("Namespace", { name: namespace }), objectTitle("Node", { name: node })].find((title) =>
        isSaid(title, node),
      ),
    edgeMs: nextEdgeMs(annotated.all, nowMs),
  };
}
