// What the agent does before it serves: brings journal and kernel back to one story after whatever ended the last agent.

import { readFile } from "node:fs/promises";
import { describe, isFault } from "../base/fault.ts";
import { type Attachment, attachmentKey, isWired, type Wired } from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Link } from "../kernel/contract.ts";
import type { Metrics } from "../base/metrics.ts";
import type { Pool } from "../ipam/pool.ts";
import { detach, type DetachDeps } from "./detach.ts";
import { attachmentsIn, viewNode } from "./rebuild.ts";
import { unlessGone } from "./wire.ts";
import type { PodPolicy } from "./policy/pod-policy.ts";
import { allGuardEntries, doomedGroup, doomOps, guardEntries, isHostLinkName, reapingGroup } from "./plan.ts";

/** Changes with every boot of the machine (proc(5), /proc/sys/kernel/random). */
export async function readBootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}

export interface RecoverDeps extends DetachDeps {
  bootId: string;
  now: () => number;
  metrics: Pick<Metrics, "repaired">;
  policy: Pick<PodPolicy, "isUnguarded">;
}

/**
 * After a reboot every attachment is gone with the machine's links. Otherwise half-made attachments are taken back, those
 * whose host link is gone are released, and the source guard is made to list exactly the rest. Where the state was lost,
 * attachments are read from their links.
 */
export async function recover(deps: RecoverDeps): Promise<void> {
  const { pool, kernel, log, bootId } = deps;
  const known = pool.facts()["bootId"];
  if (known !== undefined && known !== bootId) {
    log.warn({ attachments: pool.all().length }, "the machine was rebooted: all attachments are released");
    for (const { attachment } of pool.all()) pool.release(attachment, { cool: true });
  }
  // A state that no agent has used yet: new, or in the place of one that was lost.
  if (known === undefined) await readBack(deps);
  const living = (await kernel.node.links()).filter(({ group }) => group !== doomedGroup && group !== reapingGroup);
  const indexes = new Set(living.map(({ index }) => index));
  const endMs = performance.now() + takeBackWithinMs;
  for (const { attachment, state } of pool.all()) {
    if (state === "ready" && (!isWired(attachment) || indexes.has(attachment.wire.hostIndex))) continue;
    log.warn(
      { attachment: attachmentKey(attachment), state },
      state === "ready" ? "its host link is gone: released" : "its ADD was cut off: taken back",
    );
    await takeBack(attachment, deps, endMs);
  }
  if (known === bootId) await sweep(living, deps);
  await syncGuard(pool, deps);
  pool.setFacts({ bootId });
}

/** Tries to take an attachment back, before that is left to DEL: a kernel can be short of memory for a moment. */
const takeBackTriesMax = 3;

/** All of it, before the start goes on: IPAM plugins that do not answer must not keep a node from serving. */
const takeBackWithinMs = 20_000;

/** Ends an attachment, as DEL does; one that cannot be ended in time stays journalled, and vanished.ts tries again. */
async function takeBack(attachment: Attachment, deps: RecoverDeps, endMs: number): Promise<void> {
  deps.pool.leave(attachment);
  for (let tries = 1; tries <= takeBackTriesMax; tries += 1) {
    if (performance.now() >= endMs) return;
    try {
      return await detach(attachment, deps);
    } catch (error) {
      const next = tries < takeBackTriesMax ? "tried again" : "DEL will, or it is tried in a minute";
      deps.log.error({ attachment: attachmentKey(attachment), error: describe(error) }, `not taken back; ${next}`);
    }
  }
}

/**
 * Everything that the kernel tells of and an earlier start has not read back; an address that two links claim stays with the first.
 * @throws Fault "store-failed": an agent that cannot write its pods down would take them for strangers
 */
async function readBack({ pool, kernel, log, metrics, now }: RecoverDeps): Promise<void> {
  for (const attachment of attachmentsIn(await viewNode(kernel), now())) {
    if (pool.find(attachment) !== undefined) continue;
    try {
      pool.restore(attachment);
      log.warn({ attachment: attachmentKey(attachment), addresses: attachment.addresses }, "read back from its link");
      metrics.repaired("state file", 1);
    } catch (error) {
      if (!isFault(error, "address-taken")) throw error;
      log.error({ attachment: attachmentKey(attachment), error: describe(error) }, "could not be read back");
    }
  }
}

/**
 * Removes links of ours that no attachment has: their ADD was cut off before it was written down, or their DEL right after.
 * A journal that was lost says nothing about links that could not be read back: vanished.ts gives them time.
 */
async function sweep(living: readonly Link[], { pool, kernel, log, onDoomed }: RecoverDeps): Promise<void> {
  const known = new Set(pool.all().map(({ attachment }) => attachment.wire?.hostIndex));
  for (const { index, name, kind, alias } of living) {
    if (kind !== "veth" || !isHostLinkName(name) || known.has(index)) continue;
    log.warn({ link: name, alias }, "a link that no attachment has: removed");
    await unlessGone(applyAll(kernel.node, doomOps(index)));
    onDoomed();
  }
}

/** Host ends of pods of which nobody has said yet whether they may send from any address, and that may as the kernel has it: that stays until somebody says. */
async function openUntilSaid(
  pool: Pool,
  { kernel, policy }: Pick<RecoverDeps, "kernel" | "policy">,
): Promise<ReadonlySet<number>> {
  const unsaid = stayingOn(pool).filter((one) => policy.isUnguarded(one) === undefined);
  if (unsaid.length === 0) return new Set();
  const held = (await kernel.guard.list()) ?? [];
  const open = new Set(held.filter(({ address }) => address === "any").map(({ link }) => link));
  return new Set(unsaid.filter(({ wire }) => open.has(wire.hostLink)).map(({ wire }) => wire.hostIndex));
}

function stayingOn(pool: Pool): Wired[] {
  const staying = pool.all().filter(({ leaving }) => !leaving);
  return staying.map(({ attachment }) => attachment).filter(isWired);
}

/** Makes the guard list exactly the addresses of the attachments at hand, those that are being removed left out. */
export async function syncGuard(
  pool: Pool,
  { kernel, policy, log, metrics }: Pick<RecoverDeps, "kernel" | "policy" | "log" | "metrics">,
): Promise<void> {
  const open = await openUntilSaid(pool, { kernel, policy });
  // Not asked for before, and nothing is awaited until the guard has it: what ADD and DEL tell the guard comes after it, or is in it.
  const entries = stayingOn(pool).flatMap((one) =>
    (policy.isUnguarded(one) ?? open.has(one.wire.hostIndex)) ? allGuardEntries(one) : guardEntries(one),
  );
  const changed = await kernel.guard.ensure(entries);
  if (!changed) return;
  log.info("source guard loaded or repaired");
  metrics.repaired("guard", 1);
}
