// DEL: withdraws an attachment, dooms its links and lets its addresses cool; what is gone already is no error.

import { describe, Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import type { Pool } from "../ipam/pool.ts";
import {
  type Attachment,
  attachmentKey,
  type AttachmentId,
  type Delegate,
  isWired,
  type Wired,
} from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Kernel, Netns } from "../kernel/contract.ts";
import type { Ip } from "../net/ip.ts";
import { callDelegate } from "./delegate.ts";
import { allGuardEntries, attachmentOfAlias, derivedNames, doomOps, podDoomOps } from "./plan.ts";
import { unlessGone } from "./wire.ts";

export interface DetachDeps {
  kernel: Kernel;
  pool: Pool;
  log: Log;
  /** Called when a link was doomed. */
  onDoomed: () => void;
}

/** What the caller of DEL knows, where there is one. */
export interface DetachCall {
  netns?: string;
  /** The IPAM plugin that its configuration names. */
  delegate?: Delegate;
}

/**
 * Removes an attachment. Every step is tried whatever the others did.
 * @throws Fault "cleanup-incomplete" with all that failed, "delegate-failed" or "delegate-missing"; the attachment then stays
 * journalled and DEL can be repeated.
 */
export async function detach(id: AttachmentId, deps: DetachDeps, call: DetachCall = {}): Promise<void> {
  const { pool } = deps;
  const attachment = pool.find(id)?.attachment;
  pool.leave(id);
  const outcomes = await Promise.allSettled(unwire(id, attachment, call.netns, deps));
  const failures = outcomes.filter((outcome) => outcome.status === "rejected").map(({ reason }) => describe(reason));
  if (failures.length > 0) {
    throw new Fault(
      "cleanup-incomplete",
      `${attachmentKey(id)} is not wholly removed; DEL again: ${failures.join("; ")}`,
    );
  }
  // Only addresses that nothing leads to any more are given back.
  const delegate = call.delegate ?? attachment?.delegate;
  const forgotten = delegate === undefined ? [] : await forgetBefore(attachment, deps);
  await giveBack(delegate, attachment, deps);
  pool.release(id, { cool: true });
  pool.cleaned(forgotten);
}

/** Another plugin may give an address again at once, here or elsewhere: its connections are forgotten while it is still this pod's. */
async function forgetBefore(attachment: Attachment | undefined, { kernel, log }: DetachDeps): Promise<readonly Ip[]> {
  const addresses = attachment?.addresses ?? [];
  try {
    if (addresses.length > 0) await kernel.conntrack.forget(addresses);
    return addresses;
  } catch (error) {
    log.warn({ addresses, error: describe(error) }, "connections are left to be forgotten later");
    return [];
  }
}

function unwire(
  id: AttachmentId,
  attachment: Attachment | undefined,
  netns: string | undefined,
  deps: DetachDeps,
): Promise<void>[] {
  const { kernel } = deps;
  if (attachment === undefined) return [doomByName(id, deps)];
  if (!isWired(attachment)) return [];
  return [
    // First in its queue: from here on a start after a crash takes the attachment for removed, whatever else was done.
    doomHostEnd(attachment.wire.hostIndex, deps),
    doomPodEnd(attachment.netnsPath || netns, attachment, kernel),
    kernel.guard.withdraw(allGuardEntries(attachment)),
  ];
}

/**
 * Another plugin's addresses: it is told whether we know of them or not, since it may. One that is not there has given none to
 * an attachment that we do not know: its ADD failed for that reason.
 */
async function giveBack(
  delegate: Delegate | undefined,
  attachment: Attachment | undefined,
  { log }: DetachDeps,
): Promise<void> {
  if (delegate === undefined) return;
  try {
    await callDelegate("DEL", delegate);
  } catch (error) {
    if (attachment !== undefined || !isFault(error, "delegate-missing")) throw error;
    log.warn({ delegate: delegate.type, error: describe(error) }, "not told of a DEL, for which nothing is known here");
  }
}

/** Without a journal, the name and the alias on the link tell whether it is this attachment's. */
async function doomByName(id: AttachmentId, deps: DetachDeps): Promise<void> {
  const link = await deps.kernel.node.link(derivedNames(id).hostLink);
  const named = link === undefined ? undefined : attachmentOfAlias(link.alias);
  if (link !== undefined && named !== undefined && attachmentKey(named) === attachmentKey(id)) {
    await doomHostEnd(link.index, deps);
  }
}

async function doomHostEnd(index: number, { kernel, onDoomed }: DetachDeps): Promise<void> {
  try {
    await unlessGone(applyAll(kernel.node, doomOps(index)));
  } finally {
    onDoomed(); // a change that failed may still have happened
  }
}

/**
 * Frees the interface name inside the pod. The path can lead to another pod's namespace by now; there is no link of that
 * index then, since the agent gives each index once (link-indexes.ts).
 */
async function doomPodEnd(path: string | undefined, attachment: Wired, kernel: Kernel): Promise<void> {
  const netns = path === undefined ? undefined : openIfThere(path, kernel);
  if (netns === undefined) return;
  try {
    await unlessGone(applyAll(netns, podDoomOps(attachment)));
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
