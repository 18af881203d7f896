// The loop that owns the Node condition NetworkUnavailable: False once the node has its blocks, True where its agent waits in vain.

import { describe, isFault } from "../base/fault.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import { nodes } from "../kube/core-objects.ts";
import { type ControllerDeps, nodePace } from "./deps.ts";
import { each } from "./each.ts";
import { subjectOf } from "./events.ts";
import { blocksCondition } from "./node-status.ts";
import { readNode } from "./read-node.ts";
import { heldBlocks, type NodeView, viewOf } from "./node-view.ts";

const conditionType = "NetworkUnavailable";

/** Starts the loop. */
export function startNetworkUnavailable(
  deps: ControllerDeps,
  signal: AbortSignal,
  onPass?: (pass: LoopPass) => void,
): Loop {
  return startLoop({
    name: "network-unavailable",
    ...nodePace,
    sync: (passSignal) => syncNetworkUnavailable(deps, passSignal),
    signal,
    ...(onPass === undefined ? {} : { onPass }),
  });
}

/** One pass over all nodes. */
export async function syncNetworkUnavailable(deps: ControllerDeps, signal: AbortSignal): Promise<void> {
  const { caches, kube, events, now, log } = deps;
  if (!caches.nodes.synced() || !caches.networks.synced()) return;
  await each(caches.nodes.all(), signal, async (node) => {
    const { name, uid = "" } = node.metadata;
    const wanted = conditionFor(viewOf(node, caches.networks.get({ name })));
    if (wanted === undefined) return;
    const before = node.status.conditions?.find(({ type }) => type === conditionType);
    if (before?.status === wanted.status && before.reason === wanted.reason) return;
    const time = new Date(now()).toISOString().replace(/\.\d+Z$/, "Z");
    const condition = {
      type: conditionType,
      ...wanted,
      lastHeartbeatTime: time,
      lastTransitionTime: before?.status === wanted.status ? (before.lastTransitionTime ?? time) : time,
    };
    const body = { metadata: { uid }, status: { conditions: [condition] } };
    try {
      await kube.patch(nodes, { name }, { type: "strategic", body }, { subresource: "status", signal });
      log.info({ node: name, ...wanted }, `wrote ${conditionType}`);
    } catch (error) {
      // It is gone, or another of its name has come: servers call a patch with another's uid a conflict, or invalid.
      if (isFault(error, "kube-not-found", "kube-conflict")) return;
      if (!isFault(error, "kube-refused")) throw error;
      if ((await readNode(kube, { name, uid }, signal)) === undefined) return;
      await events.warn(subjectOf(nodes, node.metadata), "WriteRefused", describe(error), signal);
    }
  });
}

interface Wanted {
  status: "True" | "False";
  reason: string;
  message: string;
}

/**
 * What the condition has to say; undefined where it is not ours to say: on a node whose agent has not come yet, since True keeps pods
 * away even from nodes that Fairlead has nothing to do with.
 */
function conditionFor(view: NodeView): Wanted | undefined {
  const blocks = heldBlocks(view);
  if (blocks.length > 0)
    return {
      status: "False",
      reason: "FairleadReady",
      message: `Fairlead serves this node's pods from ${blocks.join(", ")}`,
    };
  const trouble = view.network?.status?.conditions?.find(({ type }) => type === blocksCondition);
  if (view.network?.status?.nodeUid !== view.uid || trouble?.status !== "False") return undefined;
  return { status: "True", reason: `Fairlead${trouble.reason}`, message: trouble.message };
}
