// What the controller follows in the API, and which changes ask which loop for a pass.

import type { CacheChange, Kube } from "../kube/contract.ts";
import { type Node, nodes } from "../kube/core-objects.ts";
import { blockLedgers, nodeEndpoints, nodeNetworks } from "../kube/objects.ts";
import type { Caches } from "./deps.ts";
import { viewOf } from "./node-view.ts";

export type LoopName = "node-blocks" | "network-unavailable" | "sweep";

/** Starts to follow; `trigger` asks a loop for a pass, where it runs. */
export function followAll(kube: Kube, trigger: (loop: LoopName) => void, signal: AbortSignal): Caches {
  const all = (): void => {
    for (const name of ["node-blocks", "network-unavailable", "sweep"] as const) trigger(name);
  };
  const onSynced = all;
  return {
    nodes: kube.follow(nodes, {
      signal,
      onSynced,
      onChange: (change) => {
        if (matters(change)) all();
      },
    }),
    networks: kube.follow(nodeNetworks, { signal, onSynced, onChange: all }),
    endpoints: kube.follow(nodeEndpoints, {
      signal,
      onSynced,
      onChange: ({ before, after }) => {
        if (before?.nodeUid !== after?.nodeUid) trigger("sweep");
      },
    }),
    ledgers: kube.follow(blockLedgers, {
      signal,
      onSynced,
      onChange: () => {
        trigger("node-blocks");
        trigger("sweep");
      },
    }),
  };
}

/** Kubelets write their Nodes all the time; most of it is nothing to us. */
function matters({ before, after }: CacheChange<Node>): boolean {
  return before === undefined || after === undefined || factsOf(before) !== factsOf(after);
}

function factsOf(node: Node): string {
  const { uid, leaving, podCidrs, malformed, addresses } = viewOf(node);
  const condition = node.status.conditions?.find(({ type }) => type === "NetworkUnavailable");
  return JSON.stringify([uid, leaving, podCidrs, malformed, addresses, condition?.status, condition?.reason]);
}
