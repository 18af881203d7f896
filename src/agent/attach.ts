// ADD: decides everything, journals it, makes it in the kernel, and undoes it all where a step fails.

import { describe, Fault, isFault } from "../base/fault.ts";
import { present } from "../base/assert.ts";
import type { AttachmentResult, CniRequest } from "../cni/types.ts";
import { type Attachment, attachmentKey, type AttachmentId } from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Kernel, Netns, Op, OpResult } from "../kernel/contract.ts";
import { ipFamily } from "../net/ip.ts";
import { detach, type DetachDeps, unlessGone } from "./detach.ts";
import type { NextLinkIndexes } from "./link-indexes.ts";
import {
  attachmentOfAlias,
  attachmentResult,
  derivedNames,
  guardEntries,
  hostOps,
  pairOp,
  podOps,
  putAsideOps,
} from "./plan.ts";
import type { Uplink } from "./uplink.ts";

/** Longest wait for an address before ADD fails with what is wrong. */
export const poolWaitMs = 10_000;

export interface AttachDeps extends DetachDeps {
  uplink: () => Uplink;
  nextLinkIndexes: NextLinkIndexes;
  signal: AbortSignal;
}

/**
 * Attaches a pod. When it returns, its addresses work in both directions; when it throws, nothing is left of it.
 * @throws Fault "interface-exists", "netns-missing", "bad-netns", "pool-empty", "kernel-…", "store-failed"
 */
export async function attach(request: CniRequest, deps: AttachDeps): Promise<AttachmentResult> {
  const { kernel, pool } = deps;
  const id: AttachmentId = { network: request.config.name, containerId: request.containerId, ifname: request.ifname };
  const netnsPath = present(request.netns, "CNI_NETNS of ADD");
  const netns = kernel.openNetns(netnsPath);
  try {
    if (netns.id === kernel.node.id) {
      throw new Fault(
        "bad-netns",
        `CNI_NETNS ${netnsPath} is the node's own network namespace; a pod needs one of its own`,
      );
    }
    await refuseLiveInterface(id, netns, deps);
    const attachment = await reserve({ id, netnsPath, pod: podOf(request) }, deps);
    try {
      // Written down while the kernel is at work already. Nobody uses what it makes before ADD has answered, and an agent
      // that starts removes links that its journal does not know.
      await settled([build(attachment, netns, deps), attempt(() => pool.journal(attachment))]);
      pool.confirm(id);
      return attachmentResult(attachment);
    } catch (error) {
      await undo(attachment, deps);
      throw error;
    }
  } finally {
    netns.close();
  }
}

function podOf({ args }: CniRequest): Attachment["pod"] {
  const { K8S_POD_NAMESPACE: namespace, K8S_POD_NAME: name, K8S_POD_UID: uid } = args;
  if (namespace === undefined || name === undefined) return undefined;
  return { namespace, name, ...(uid === undefined ? {} : { uid }) };
}

/** The specification wants an error where the interface exists; a journalled attachment without one is a leftover and goes. */
async function refuseLiveInterface(id: AttachmentId, netns: Netns, deps: AttachDeps): Promise<void> {
  const known = deps.pool.find(id);
  if (known === undefined) return;
  if ((await netns.link(id.ifname)) !== undefined) {
    throw new Fault(
      "interface-exists",
      `${id.ifname} of container ${id.containerId} is attached already; DEL it first`,
    );
  }
  deps.log.warn({ attachment: id }, "attachment was journalled but its interface is gone: released and made anew");
  await detach(id, deps);
}

interface Draft {
  id: AttachmentId;
  netnsPath: string;
  pod: Attachment["pod"];
}

async function reserve(
  { id, netnsPath, pod }: Draft,
  { pool, uplink, signal, nextLinkIndexes }: AttachDeps,
): Promise<Attachment> {
  const deadlineMs = performance.now() + poolWaitMs;
  const draft = {
    ...id,
    ...derivedNames(id),
    ...nextLinkIndexes(),
    netnsPath,
    mtu: uplink().mtu,
    ...(pod === undefined ? {} : { pod }),
  };
  for (;;) {
    try {
      return pool.reserve(draft);
    } catch (error) {
      const leftMs = deadlineMs - performance.now();
      // Waiting helps only where something is about to become free.
      const hopeless = (pool.nextCooledInMs() ?? Infinity) > leftMs;
      if (!isFault(error, "pool-empty") || hopeless || signal.aborted) throw error;
      await pool.whenFreed(leftMs, signal);
    }
  }
}

/**
 * Makes everything, in one breath: the namespaces' operations are queued one behind the other on one kernel thread, the
 * guard's on another. They can name the links because the agent chose their indexes.
 */
async function build(attachment: Attachment, netns: Netns, deps: AttachDeps): Promise<void> {
  const { log } = deps;
  let made = await sendAll(attachment, netns, deps);
  if (isFault(made.pair, "kernel-exists") && (await freeName(attachment, deps))) {
    log.info({ link: attachment.hostLink }, "tried again: an earlier link had the name");
    made = await sendAll(attachment, netns, deps);
  }
  if (isFault(made.pair, "kernel-exists") && (await netns.link(attachment.ifname)) !== undefined) {
    throw new Fault(
      "interface-exists",
      `${attachment.ifname} exists in ${attachment.netnsPath} already and is not ours; it was left as it is`,
      { cause: made.pair },
    );
  }
  if (made.pair !== undefined) throw made.pair;
  if (made.host !== undefined) throw made.host;
  await finishPodSide(attachment, netns, made.pod);
}

interface Made {
  /** Why the pair could not be made; whatever else failed then only follows from it. */
  pair: Fault | undefined;
  host: Fault | undefined;
  /** Answers to `podOps`, one each. */
  pod: OpResult[];
}

async function sendAll(attachment: Attachment, netns: Netns, { kernel, uplink }: AttachDeps): Promise<Made> {
  const hasIpv6 = attachment.addresses.some((address) => ipFamily(address) === 6);
  const [, [pair], host, pod] = await settled([
    // Namespaces can start with IPv6 off; an address could not be added then.
    hasIpv6
      ? netns.writeSysctls({ "ipv6/conf/all/disable_ipv6": "0", "ipv6/conf/default/disable_ipv6": "0" })
      : Promise.resolve(),
    kernel.node.apply([pairOp(attachment, netns)]), // takes longest: under way while the rest is being encoded
    kernel.node.apply(hostOps(attachment, uplink().addresses)),
    netns.apply(podOps(attachment)),
    kernel.guard.admit(guardEntries(attachment)), // the shortest, on a thread of its own: last
  ]);
  return { pair: present(pair, "answer").fault, host: host.find(({ fault }) => fault !== undefined)?.fault, pod };
}

/** A second interface of a pod finds the routes of the first: its own then rank behind them. */
async function finishPodSide(attachment: Attachment, netns: Netns, results: readonly OpResult[]): Promise<void> {
  const ops = podOps(attachment);
  const failed = results.flatMap(({ fault }, index) => (fault === undefined ? [] : [{ fault, op: ops[index] }]));
  const isSecond = failed.some(({ op, fault }) => op?.op === "route.add" && isFault(fault, "kernel-exists"));
  const behind: Op[] = [];
  for (const { op, fault } of failed) {
    // Where the route to the next hop was there already, the routes through it could not be made either.
    if (!isSecond || op?.op !== "route.add") throw fault;
    behind.push({ op: "route.add", route: { ...op.route, metric: attachment.podIndex } });
  }
  if (behind.length > 0) await applyAll(netns, behind);
}

/**
 * Frees the host link's name where a link of ours holds it: one that waits for the reaper, or one that no journal knows.
 * True where it is worth trying again; the reaper may have been faster.
 */
async function freeName({ hostLink }: Attachment, { kernel, onDoomed }: AttachDeps): Promise<boolean> {
  const link = await kernel.node.link(hostLink);
  if (link === undefined) return true;
  if (attachmentOfAlias(link.alias) === undefined) return false;
  await unlessGone(applyAll(kernel.node, putAsideOps(link.index)));
  onDoomed();
  return true;
}

/**
 * Takes back whatever exists of an attachment that never served; its addresses carried nothing and need no cooling. What
 * cannot be taken back is logged and stays journalled, for DEL or the next start: the caller hears why ADD failed, not this.
 */
async function undo(attachment: Attachment, { kernel, pool, log }: AttachDeps): Promise<void> {
  pool.leave(attachment);
  try {
    await settled([kernel.guard.withdraw(guardEntries(attachment)), removeOwnLink(attachment, kernel)]);
    pool.release(attachment, { cool: false });
  } catch (error) {
    log.error({ attachment: attachmentKey(attachment), error: describe(error) }, "ADD was not wholly taken back");
  }
}

/** Only a link that carries this attachment's own name and hardware address is ours to remove. */
async function removeOwnLink({ hostLink, hostMac }: Attachment, kernel: Kernel): Promise<void> {
  const link = await kernel.node.link(hostLink);
  if (link?.mac === hostMac) await applyAll(kernel.node, [{ op: "link.remove", link: link.index }]);
}

const attempt = async (work: () => void): Promise<void> => work();

/** As Promise.all, but waits for every one before it throws: an undo must not run beside work that is still under way. */
async function settled<T extends readonly unknown[]>(
  work: readonly [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work);
  return Promise.all(work);
}
