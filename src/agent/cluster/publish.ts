// Keeps this node's NodeEndpoints: the addresses of its pods, and by which state of the groups they are judged.

import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Cache, Kube } from "../../kube/contract.ts";
import type { Node } from "../../kube/core-objects.ts";
import { type Endpoint, type NodeEndpoints, nodeEndpoints } from "../../kube/objects.ts";
import { wantedEndpoints } from "./endpoints.ts";
import type { ToldJudging } from "./judging.ts";
import { keepObject } from "./keep.ts";

/** The pace of what an agent writes into the cluster. */
export const writing = { minMs: 50, retryMs: 500, retryMaxMs: 15_000, maxMs: 60_000 };

export interface Publisher {
  kube: Kube;
  nodeName: string;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
}

/** What is published, and what it is compared with. */
export interface Published {
  node: () => Node | undefined;
  seen: Cache<NodeEndpoints>;
  endpoints: () => Endpoint[];
  judged: Pick<ToldJudging, "groups" | "waitMs">;
}

/** Starts the loop; it writes nothing before the cluster has told of the Node and of what stands there. */
export function startPublishing(
  { kube, nodeName, signal, onPass }: Publisher,
  { node, seen, endpoints, judged }: Published,
): Loop {
  const sync = async (): Promise<void> => {
    const own = node();
    if (own === undefined || !seen.synced()) return;
    // What the agent before has told of another Node of that name is not told of this one.
    const told = seen.get({ name: nodeName });
    const groups = judged.groups(told?.nodeUid === own.metadata.uid ? told?.policy?.groups : undefined);
    await keepObject({
      kube,
      kind: nodeEndpoints,
      name: nodeName,
      seen: () => seen.get({ name: nodeName }),
      wanted: (held) => wantedEndpoints(held, own, endpoints(), groups),
      signal,
    });
  };
  const maxMs = (): number => Math.max(writing.retryMs, judged.waitMs() ?? writing.maxMs);
  return startLoop({ name: "endpoints", ...writing, maxMs, sync, signal, onPass });
}
