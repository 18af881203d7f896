// GC: removes the attachments of one network that the runtime no longer lists.

import { describe, Fault } from "../base/fault.ts";
import type { CniRequest } from "../cni/types.ts";
import { callDelegate, delegateOf } from "./delegate.ts";
import { attachmentKey } from "../ipam/store.ts";
import { detach, type DetachDeps } from "./detach.ts";
import type { Gate } from "./gate.ts";

/** The plugin waits 20 s (`other_ms_max` in native/shim_core.h). After that the runtime's list is old: others may have been added. */
const collectWithinMs = 15_000;

export interface CollectDeps extends DetachDeps {
  gate: Gate;
}

/**
 * Keeps exactly the listed attachments of the request's network. Without a list nothing is removed: an absent list says
 * that the runtime does not know, not that there are none. Every removal is tried, whatever the others did.
 * @throws Fault "cleanup-incomplete" with all that failed.
 */
export async function collect(request: CniRequest, deps: CollectDeps): Promise<void> {
  const { pool, gate, log } = deps;
  if (request.validAttachments === undefined) return;
  const keep = new Set(request.validAttachments.map(({ containerId, ifname }) => `${containerId}/${ifname}`));
  const stale = pool
    .all()
    .map(({ attachment }) => attachment)
    .filter(({ network }) => network === request.config.name)
    .filter(({ containerId, ifname }) => !keep.has(`${containerId}/${ifname}`));
  const endMs = performance.now() + collectWithinMs;
  const failures: string[] = [];
  for (const [index, one] of stale.entries()) {
    if (performance.now() >= endMs) {
      failures.push(`${stale.length - index} more were not reached within ${collectWithinMs / 1000} s; GC again`);
      throw new Fault("cleanup-incomplete", failures.join("; "));
    }
    try {
      await gate.run(one.containerId, async () => {
        // In its turn it may be another one of the same name.
        if (pool.find(one)?.attachment !== one) return;
        await detach(one, deps);
        log.info({ attachment: attachmentKey(one) }, "collected: the runtime no longer lists it");
      });
    } catch (error) {
      failures.push(describe(error));
    }
  }
  if (request.delegate !== undefined && performance.now() < endMs) {
    // Whatever it keeps beyond what we know of: the same list, as the specification wants it.
    await callDelegate("GC", delegateOf(request, request.delegate)).catch((error: unknown) =>
      failures.push(describe(error)),
    );
  } else if (request.delegate !== undefined) failures.push(`${request.delegate} was not asked any more; GC again`);
  if (failures.length > 0) throw new Fault("cleanup-incomplete", failures.join("; "));
}
