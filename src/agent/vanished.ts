// Pods that went without a DEL, and links that belong to no pod: given back once they have been so for a while.

import { describe, isFault } from "../base/fault.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import type { Metrics } from "../base/metrics.ts";
import type { Pool } from "../ipam/pool.ts";
import { type Attachment, attachmentKey, isWired } from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Kernel, Link } from "../kernel/contract.ts";
import { detach, type DetachDeps } from "./detach.ts";
import type { Gate } from "./gate.ts";
import { doomedGroup, doomOps, isHostLinkName, reapingGroup } from "./plan.ts";

/** How long a pod must have been gone, or a link without one, before nobody is expected to call DEL for it. */
export const vanishedMs = 60_000;

export interface VanishedDeps extends DetachDeps {
  gate: Gate;
  metrics: Pick<Metrics, "repaired">;
  /** The cluster has that pod on this node, or may have it: its runtime will call DEL. */
  podLives: (pod: NonNullable<Attachment["pod"]>) => boolean;
  /** Milliseconds that never go back. */
  clock: () => number;
}

/** Starts the loop; trigger it when a link went away. */
export function startVanished(deps: VanishedDeps, signal: AbortSignal, onPass: (pass: LoopPass) => void): Loop {
  return startLoop({
    name: "vanished",
    sync: createVanishedPass(deps),
    minMs: 1000,
    retryMs: 1000,
    retryMaxMs: 30_000,
    maxMs: 10_000,
    signal,
    onPass,
  });
}

/** One pass; the function remembers since when each is missed. */
export function createVanishedPass(deps: VanishedDeps): () => Promise<void> {
  const missedSinceMs = new Map<string, number>();
  return async () => {
    const { kernel, pool, clock, podLives } = deps;
    const links = await kernel.node.links();
    const nowMs = clock();
    const missed = new Map<string, () => Promise<void>>();
    for (const attachment of goneAttachments(pool, links, kernel)) {
      if (attachment.pod !== undefined && podLives(attachment.pod)) continue;
      missed.set(`attachment ${attachmentKey(attachment)}`, () => giveUp(attachment, deps));
    }
    for (const link of strayLinks(pool, links)) missed.set(`link ${link.index}`, () => doomStray(link, deps));
    for (const key of missedSinceMs.keys()) if (!missed.has(key)) missedSinceMs.delete(key);
    const failures: unknown[] = [];
    for (const [key, act] of missed) {
      const sinceMs = missedSinceMs.get(key) ?? nowMs;
      missedSinceMs.set(key, sinceMs);
      if (nowMs - sinceMs >= vanishedMs) await act().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  };
}

/**
 * Attachments that serve but have lost what makes them: the node's end of the pair, or the namespace where the interface is another plugin's.
 * And those whose removal has begun and did not end.
 */
function goneAttachments(pool: Pool, links: readonly Link[], kernel: Kernel): Attachment[] {
  const indexes = new Set(links.map(({ index }) => index));
  const isGone = (attachment: Attachment): boolean =>
    isWired(attachment) ? !indexes.has(attachment.wire.hostIndex) : isNetnsGone(attachment.netnsPath, kernel);
  return pool
    .all()
    .filter(({ attachment, state, leaving }) => leaving || (state === "ready" && isGone(attachment)))
    .map(({ attachment }) => attachment);
}

/** A namespace that cannot be opened for another reason may still be there. */
function isNetnsGone(path: string, kernel: Kernel): boolean {
  try {
    kernel.openNetns(path).close();
    return false;
  } catch (error) {
    return isFault(error, "netns-missing");
  }
}

function strayLinks(pool: Pool, links: readonly Link[]): Link[] {
  const known = new Set(pool.all().map(({ attachment }) => attachment.wire?.hostIndex));
  return links.filter(
    ({ kind, name, group, index }) =>
      kind === "veth" && isHostLinkName(name) && group !== doomedGroup && group !== reapingGroup && !known.has(index),
  );
}

async function giveUp(attachment: Attachment, deps: VanishedDeps): Promise<void> {
  const { gate, log, metrics, pool } = deps;
  log.warn(
    { attachment: attachmentKey(attachment) },
    `gone, or not wholly removed, for ${vanishedMs / 1000} s without a DEL: released`,
  );
  await gate.run(attachment.containerId, async () => {
    // In its turn it may be another one of the same name.
    if (pool.find(attachment)?.attachment === attachment) await detach(attachment, deps);
  });
  metrics.repaired("vanished", 1);
}

async function doomStray(
  { index, name, alias }: Link,
  { kernel, log, metrics, onDoomed }: VanishedDeps,
): Promise<void> {
  log.warn({ link: name, alias }, "a link of ours that belongs to no attachment: removed");
  await applyAll(kernel.node, doomOps(index)).catch((error: unknown) =>
    log.error({ link: name, error: describe(error) }, "a stray link could not be removed; tried again"),
  );
  onDoomed();
  metrics.repaired("stray link", 1);
}
