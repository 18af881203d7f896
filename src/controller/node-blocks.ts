// The loop that gives nodes their blocks: first into the ledger, then on the Node, then in its NodeNetwork; and keeps that status true.

import { describe, Fault, isFault } from "../base/fault.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import type { BlockBook } from "../ipam/node-blocks.ts";
import { nodes, type Node } from "../kube/core-objects.ts";
import { nodeNetworks } from "../kube/objects.ts";
import type { Cidr } from "../net/cidr.ts";
import { type Overlap, overlapsOf } from "./claims.ts";
import { type ControllerDeps, nodePace } from "./deps.ts";
import { each } from "./each.ts";
import { type Gifts, namingsOf, planGifts } from "./give.ts";
import { cachedLedgers, type Ledger, readLedgers, writeLedger } from "./ledgers.ts";
import { type Judgement, judge, sameStatus, statusFrom } from "./node-status.ts";
import { type NodeView, viewOf, viewsOf } from "./node-view.ts";
import { readNode } from "./read-node.ts";

/** Tries to write one Node against others who write it too; the next pass tries again. */
const nodeWritesMax = 3;

/** Starts the loop. */
export function startNodeBlocks(deps: ControllerDeps, signal: AbortSignal, onPass?: (pass: LoopPass) => void): Loop {
  return startLoop({
    name: "node-blocks",
    ...nodePace,
    sync: (passSignal) => syncNodeBlocks(deps, passSignal),
    signal,
    ...(onPass === undefined ? {} : { onPass }),
  });
}

/** One pass. Every write carries the versions that it was decided by, so that another leader's pass beside it does no harm. */
export async function syncNodeBlocks(deps: ControllerDeps, signal: AbortSignal): Promise<void> {
  const { caches } = deps;
  if (!caches.nodes.synced() || !caches.networks.synced()) return; // asked again when they are
  const networks = caches.networks.all();
  const views = viewsOf(caches.nodes.all(), networks);
  const { gifts, ledgers } = await settleLedgers(deps, views, signal);
  const overlaps = overlapsOf(views, networks);
  const books = ledgers.map(({ book }) => book);
  await each(views, signal, async (view) => {
    try {
      await serveNode(deps, view, { gifts, books, overlap: overlaps.get(view.name), signal });
    } catch (error) {
      // What the server refuses for one node must not slow down the others: it is tried again with each pass.
      if (!isFault(error, "kube-refused")) throw error;
      await deps.events.warn(nodeSubject(view), "WriteRefused", describe(error), signal);
    }
  });
}

interface Serving {
  gifts: Gifts;
  books: readonly BlockBook[];
  overlap: Overlap | undefined;
  signal: AbortSignal;
}

async function serveNode(
  deps: ControllerDeps,
  view: NodeView,
  { gifts, books, overlap, signal }: Serving,
): Promise<void> {
  const cidrs = gifts.given.get(view.uid);
  const written = cidrs === undefined ? undefined : await writePodCidrs(deps, view, cidrs, signal);
  const present = written === undefined ? view : viewOf(written, view.network);
  // It is gone, or somebody else has written other podCIDRs: the watch tells, and the next pass judges that.
  if (cidrs !== undefined && cidrs.join() !== present.podCidrs.join()) return;
  const full = gifts.full.get(view.uid);
  const judgement = judge(present, {
    books,
    assign: deps.config.assign,
    ...(overlap === undefined ? {} : { overlap }),
    ...(full === undefined ? {} : { full }),
  });
  if (judgement === undefined) return;
  if (judgement.warning) await deps.events.warn(nodeSubject(view), judgement.reason, judgement.message, signal);
  await writeStatus(deps, present, judgement, { fresh: written, signal });
}

const nodeSubject = ({ name, uid }: NodeView) => ({ kind: "Node", apiVersion: "v1", name, uid }) as const;

/** The ledgers' books with all that is known marked in them and on the server, and what may now be written on Nodes. */
async function settleLedgers(
  deps: ControllerDeps,
  views: readonly NodeView[],
  signal: AbortSignal,
): Promise<{ gifts: Gifts; ledgers: Ledger[] }> {
  const { caches, config } = deps;
  const namings = namingsOf(views, caches.networks.all());
  const plan = (ledgers: readonly Ledger[]): Gifts =>
    planGifts(
      ledgers.map(({ book }) => book),
      views,
      namings,
      { give: config.assign === "fairlead" },
    );
  // Most passes find nothing to write: the cache's word is enough for that, and for promises that stand on the server.
  const known = cachedLedgers(caches.ledgers, deps);
  if (known !== undefined) {
    const gifts = plan(known);
    if (gifts.changed.size === 0 && gifts.given.size === 0) return { gifts, ledgers: known };
  }
  const ledgers = await readLedgers(deps, signal);
  const gifts = plan(ledgers);
  for (const ledger of ledgers) if (gifts.changed.has(ledger.book)) await writeLedger(deps, ledger, signal);
  return { gifts, ledgers };
}

/**
 * Writes `podCIDRs` on a Node that has none. Gives the Node as it is then, also where somebody else has written others; undefined where
 * it is gone, or another of the same name has come.
 */
async function writePodCidrs(
  { kube, log }: ControllerDeps,
  view: NodeView,
  cidrs: readonly Cidr[],
  signal: AbortSignal,
): Promise<Node | undefined> {
  let { resourceVersion } = view;
  for (let attempt = 1; ; attempt += 1) {
    const body = {
      metadata: { uid: view.uid, resourceVersion },
      spec: { podCIDR: cidrs[0], podCIDRs: cidrs },
    };
    try {
      const written = await kube.patch(nodes, { name: view.name }, { type: "merge", body }, { signal });
      log.info({ node: view.name, uid: view.uid, podCIDRs: cidrs }, "gave a node its blocks");
      return written;
    } catch (error) {
      if (isFault(error, "kube-not-found")) return undefined;
      if (!isFault(error, "kube-conflict") || attempt === nodeWritesMax) throw error;
    }
    const fresh = await readNode(kube, view, signal);
    if (fresh === undefined) return undefined;
    const now = viewOf(fresh);
    if (now.podCidrs.length > 0 || now.malformed !== undefined) return fresh;
    ({ resourceVersion } = now);
  }
}

/**
 * Writes the status of the NodeNetwork where it says anything else. The Node is read from storage after the version of the NodeNetwork
 * that is written on (`fresh`, or here): so a status can never come to a NodeNetwork that the sweep has seen without its Node.
 */
async function writeStatus(
  deps: ControllerDeps,
  view: NodeView,
  judgement: Judgement,
  { fresh, signal }: { fresh: Node | undefined; signal: AbortSignal },
): Promise<void> {
  const { kube, now, log } = deps;
  const { network, name, uid } = view;
  if (network === undefined) return;
  const status = statusFrom(view, judgement, new Date(now()).toISOString());
  if (sameStatus(network.status, status)) return;
  const node = fresh ?? (await readNode(kube, view, signal));
  if (node === undefined) return;
  const present = viewOf(node, network);
  if (present.podCidrs.join() !== view.podCidrs.join() || present.malformed !== view.malformed) return; // judged anew when the watch tells
  const { uid: objectUid, resourceVersion } = network.metadata;
  if (objectUid === undefined || resourceVersion === undefined)
    throw new Fault("kube-answer", `NodeNetwork ${name} came without uid or resourceVersion`);
  const body = {
    metadata: { uid: objectUid, resourceVersion },
    status: statusFrom(present, judgement, new Date(now()).toISOString()),
  };
  try {
    await kube.patch(nodeNetworks, { name }, { type: "merge", body }, { subresource: "status", signal });
    log.info({ node: name, uid, blocks: judgement.blocks, reason: judgement.reason }, "told a node its blocks");
  } catch (error) {
    // Its agent has written meanwhile, or it is gone: the watch tells, and the next pass decides anew.
    if (!isFault(error, "kube-conflict", "kube-not-found")) throw error;
  }
}
