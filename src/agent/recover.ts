// What the agent does before it serves: brings journal and kernel back to one story after whatever ended the last agent.

import { readFile } from "node:fs/promises";
import { describe } from "../base/fault.ts";
import { attachmentKey, isWired } from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Link } from "../kernel/contract.ts";
import type { Pool } from "../ipam/pool.ts";
import { detach, type DetachDeps } from "./detach.ts";
import { doomedGroup, doomOps, guardEntries, isHostLinkName, reapingGroup } from "./plan.ts";

/** Changes with every boot of the machine (proc(5), /proc/sys/kernel/random). */
export async function readBootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}

export interface RecoverDeps extends DetachDeps {
  bootId: string;
}

/**
 * After a reboot every attachment is gone with the machine's links. Otherwise half-made attachments are taken back, those
 * whose host link is gone are released, and the source guard is made to list exactly the rest.
 */
export async function recover(deps: RecoverDeps): Promise<void> {
  const { pool, kernel, log, bootId } = deps;
  const known = pool.facts()["bootId"];
  if (known !== undefined && known !== bootId) {
    log.warn({ attachments: pool.all().length }, "the machine was rebooted: all attachments are released");
    for (const { attachment } of pool.all()) pool.release(attachment, { cool: true });
  }
  const living = (await kernel.node.links()).filter(({ group }) => group !== doomedGroup && group !== reapingGroup);
  const names = new Set(living.map(({ name }) => name));
  for (const { attachment, state } of pool.all()) {
    if (state === "ready" && (!isWired(attachment) || names.has(attachment.wire.hostLink))) continue;
    log.warn(
      { attachment: attachmentKey(attachment), state },
      state === "ready" ? "its host link is gone: released" : "its ADD was cut off: taken back",
    );
    await detach(attachment, deps).catch((error: unknown) =>
      log.error({ attachment: attachmentKey(attachment), error: describe(error) }, "not taken back; DEL will"),
    );
  }
  if (known === bootId) await sweep(living, deps);
  await syncGuard(pool, deps);
  pool.setFacts({ bootId });
}

/**
 * Removes links of ours that a journal of this boot does not know: their ADD was cut off before it was written down, or
 * their DEL right after. Without such a journal they may be living pods whose state was lost, and stay.
 */
async function sweep(living: readonly Link[], { pool, kernel, log, onDoomed }: RecoverDeps): Promise<void> {
  const known = new Set(pool.all().map(({ attachment }) => attachment.wire?.hostLink));
  for (const { index, name, kind, alias } of living) {
    if (kind !== "veth" || !isHostLinkName(name) || known.has(name)) continue;
    log.warn({ link: name, alias }, "a link that the journal does not know: removed");
    await applyAll(kernel.node, doomOps(index));
    onDoomed();
  }
}

/** Makes the guard list exactly the addresses of the attachments at hand, those that are being removed left out. */
export async function syncGuard(pool: Pool, { kernel, log }: Pick<DetachDeps, "kernel" | "log">): Promise<void> {
  const staying = pool.all().filter(({ leaving }) => !leaving);
  const wired = staying.map(({ attachment }) => attachment).filter(isWired);
  const changed = await kernel.guard.ensure(wired.flatMap(guardEntries));
  if (changed) log.info("source guard loaded or repaired");
}
