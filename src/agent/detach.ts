// DEL: withdraws an attachment, dooms its links and lets its addresses cool; what is gone already is no error.

import { describe, Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import type { Pool } from "../ipam/pool.ts";
import { type Attachment, attachmentKey, type AttachmentId } from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Kernel, Link, Netns } from "../kernel/contract.ts";
import { attachmentOfAlias, derivedNames, doomOps, guardEntries, podDoomOps } from "./plan.ts";

export interface DetachDeps {
  kernel: Kernel;
  pool: Pool;
  log: Log;
  /** Called when a link was doomed. */
  onDoomed: () => void;
}

/**
 * Removes an attachment. Every step is tried whatever the others did.
 * @throws Fault "cleanup-incomplete" with all that failed; the attachment then stays journalled and DEL can be repeated.
 */
export async function detach(id: AttachmentId, deps: DetachDeps): Promise<void> {
  const { kernel, pool } = deps;
  const attachment = pool.find(id)?.attachment;
  pool.leave(id);
  const outcomes = await Promise.allSettled([
    attachment === undefined ? undefined : kernel.guard.withdraw(guardEntries(attachment)),
    attachment === undefined ? undefined : doomPodEnd(attachment, kernel),
    doomHostEnd(id, attachment, deps),
  ]);
  const failures = outcomes.filter((outcome) => outcome.status === "rejected").map(({ reason }) => describe(reason));
  if (failures.length > 0) {
    throw new Fault(
      "cleanup-incomplete",
      `${attachmentKey(id)} is not wholly removed; DEL again: ${failures.join("; ")}`,
    );
  }
  pool.release(id, { cool: true });
}

async function doomHostEnd(
  id: AttachmentId,
  attachment: Attachment | undefined,
  { kernel, onDoomed }: DetachDeps,
): Promise<void> {
  const link = await kernel.node.link(attachment?.hostLink ?? derivedNames(id).hostLink);
  if (link === undefined || !isOurs(link, id, attachment)) return;
  try {
    await unlessGone(applyAll(kernel.node, doomOps(link.index)));
  } finally {
    onDoomed(); // a change that failed may still have happened
  }
}

/** Until ADD has finished the alias may be missing; the hardware address is there from birth. */
function isOurs(link: Link, id: AttachmentId, attachment: Attachment | undefined): boolean {
  if (attachment !== undefined && link.mac === attachment.hostMac) return true;
  const named = attachmentOfAlias(link.alias);
  return named !== undefined && attachmentKey(named) === attachmentKey(id);
}

/**
 * Frees the interface name inside the pod. The path can lead to another pod's namespace by now, and the kernel gives
 * inode numbers of namespaces again: only the hardware address, made from the attachment's name, tells that it is ours.
 */
async function doomPodEnd({ netnsPath, ifname, podMac }: Attachment, kernel: Kernel): Promise<void> {
  const netns = openIfThere(netnsPath, kernel);
  if (netns === undefined) return;
  try {
    const link = await netns.link(ifname);
    if (link?.mac === podMac) await unlessGone(applyAll(netns, podDoomOps(link.index)));
  } finally {
    netns.close();
  }
}

function openIfThere(path: string, kernel: Kernel): Netns | undefined {
  try {
    return kernel.openNetns(path);
  } catch (error) {
    if (isFault(error, "netns-missing")) return undefined;
    throw error;
  }
}

/** A pair can vanish under our feet, with its pod's namespace: that is what DEL wants. */
async function unlessGone(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isFault(error, "kernel-missing")) throw error;
  }
}
