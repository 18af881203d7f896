// GC: removes the attachments of one network that the runtime no longer lists.

import { describe, Fault } from "../base/fault.ts";
import type { CniRequest } from "../cni/types.ts";
import { callDelegate, delegateOf } from "./delegate.ts";
import { attachmentKey } from "../ipam/store.ts";
import { detach, type DetachDeps } from "./detach.ts";
import type { Gate } from "./gate.ts";

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
  const failures: string[] = [];
  for (const id of stale) {
    try {
      await gate.run(id.containerId, () => detach(id, deps));
      log.info({ attachment: attachmentKey(id) }, "collected: the runtime no longer lists it");
    } catch (error) {
      failures.push(describe(error));
    }
  }
  if (request.delegate !== undefined) {
    // Whatever it keeps beyond what we know of: the same list, as the specification wants it.
    await callDelegate("GC", delegateOf(request, request.delegate)).catch((error: unknown) =>
      failures.push(describe(error)),
    );
  }
  if (failures.length > 0) throw new Fault("cleanup-incomplete", failures.join("; "));
}
