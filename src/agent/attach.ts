// ADD: decides everything, journals it, makes it in the kernel, and undoes it all where a step fails.

import { describe, Fault, isFault } from "../base/fault.ts";
import { present } from "../base/assert.ts";
import type { AttachmentResult, CniRequest } from "../cni/types.ts";
import { type Attachment, attachmentKey, type AttachmentId, type Wire, type Wired } from "../ipam/store.ts";
import type { Pod } from "../kube/core-objects.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Netns } from "../kernel/contract.ts";
import { callDelegate, delegateAdd } from "./delegate.ts";
import { detach, type DetachDeps } from "./detach.ts";
import type { NextLinkIndexes } from "./link-indexes.ts";
import { anySource, attachmentResult, derivedNames } from "./plan.ts";
import type { PodPolicy } from "./policy/pod-policy.ts";
import { buildWire, settled, unbuildWire, type WireDeps } from "./wire.ts";

/** Longest wait for an address before ADD fails with what is wrong. */
export const poolWaitMs = 10_000;

/** What the reaper may take to free an address whose time has come, before it is asked again. */
const freeingMs = 100;

export interface AttachDeps extends DetachDeps, WireDeps {
  policy: PodPolicy;
  nextLinkIndexes: NextLinkIndexes;
}

/**
 * Attaches a pod; `pod` is the API server's object of it, where there is one. When it returns, policy judges it and its addresses work in both directions; when it throws, nothing is left of it.
 * @throws Fault "interface-exists", "netns-missing", "bad-netns", "pool-empty", "address-taken", "unsupported-value",
 * "delegate-failed", "policy-unknown", "kernel-…", "store-failed"
 */
export async function attach(request: CniRequest, deps: AttachDeps, pod?: Pod): Promise<AttachmentResult> {
  const { kernel } = deps;
  const id = attachmentIdOf(request);
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
    const labels = deps.policy.labelsOf?.(request);
    const said = { ...podOf(request), ...(labels === undefined ? {} : { labels }) };
    const { attachment, dns } = await obtain(request, { ...id, netnsPath, ...said, wire: wireOf(request, deps) }, deps);
    await make(attachment, { netns, pod }, deps);
    return attachmentResult(attachment, request.wishes.dns ?? dns);
  } finally {
    netns.close();
  }
}

/** What a request is about. */
export function attachmentIdOf({ config, containerId, ifname }: CniRequest): AttachmentId {
  return { network: config.name, containerId, ifname };
}

/** The pod as the runtime names it. */
export function podOf({ args }: CniRequest): Pick<Attachment, "pod"> {
  const { K8S_POD_NAMESPACE: namespace, K8S_POD_NAME: name, K8S_POD_UID: uid } = args;
  if (namespace === undefined || name === undefined) return {};
  return { pod: { namespace, name, ...(uid === undefined ? {} : { uid }) } };
}

function wireOf(request: CniRequest, { uplink, nextLinkIndexes }: AttachDeps): Wire {
  const { mac } = request.wishes;
  return {
    ...derivedNames(attachmentIdOf(request)),
    ...nextLinkIndexes(),
    ...(mac === undefined ? {} : { podMac: mac }),
    mtu: uplink().mtu,
  };
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
  deps.log.warn({ attachment: attachmentKey(id) }, "journalled, but its interface is gone: released and made anew");
  await detach(id, deps);
}

type WiredDraft = Omit<Wired, "addresses" | "createdMs">;
type Obtained = { attachment: Wired; dns?: AttachmentResult["dns"] };

/** Gets the addresses: from the pool, or from the IPAM plugin that the configuration names. */
async function obtain(request: CniRequest, draft: WiredDraft, deps: AttachDeps): Promise<Obtained> {
  if (request.delegate === undefined) return { attachment: await reserve(draft, request.wishes, deps) };
  const { delegate, addresses, subnets, routes, dns } = await delegateAdd(request, request.delegate, deps);
  try {
    const wire = { ...draft.wire, subnets, ...(routes.length === 0 ? {} : { routes }) };
    const attachment = deps.pool.adopt({ ...draft, wire, delegate }, addresses);
    return { attachment, ...(dns === undefined ? {} : { dns }) };
  } catch (error) {
    await giveBack(delegate, deps);
    throw error;
  }
}

/** An address of the pool; waits for one that is about to become free, and until it is known which ones are withheld. */
export async function reserve<D extends Omit<Attachment, "addresses" | "createdMs">>(
  draft: D,
  wishes: CniRequest["wishes"],
  { pool, signal, onDoomed, policy }: Pick<AttachDeps, "pool" | "signal" | "onDoomed" | "policy">,
): Promise<D & Pick<Attachment, "addresses" | "createdMs">> {
  await policy.untilKnown();
  const deadlineMs = performance.now() + poolWaitMs;
  for (;;) {
    try {
      return pool.reserve(draft, wishes);
    } catch (error) {
      if (!isFault(error, "pool-empty", "address-taken") || signal.aborted) throw error;
      const leftMs = deadlineMs - performance.now();
      const nextFreeMs = error.data["nextFreeMs"];
      // Waiting helps only where something is about to become free.
      if (typeof nextFreeMs !== "number" || nextFreeMs > leftMs) throw error;
      await pool.whenFreed(Math.min(leftMs, nextFreeMs + freeingMs), signal);
      onDoomed(); // the reaper frees it
    }
  }
}

async function make(
  attachment: Wired,
  { netns, pod }: { netns: Netns; pod: Pod | undefined },
  deps: AttachDeps,
): Promise<void> {
  const { pool, policy } = deps;
  try {
    const { group, listed } = await policy.enter(attachment, pod);
    // Written down while the kernel is at work already. Nobody uses what it makes before ADD has answered, and an agent
    // that starts removes links that its journal does not know.
    await settled([buildWire(attachment, { netns, group }, deps), attempt(() => pool.journal(attachment)), listed]);
    await followPolicy(attachment, group, deps);
    pool.confirm(attachment);
  } catch (error) {
    await undo(attachment, netns, deps);
    throw error;
  }
}

/** What was heard of while the link was being made changes its class before ADD answers. */
async function followPolicy(attachment: Wired, group: number, { kernel, policy }: AttachDeps): Promise<void> {
  const now = await policy.settle(attachment);
  // At once: the next pass over policy may give it another class.
  if (now !== undefined && now !== group)
    await applyAll(kernel.node, [{ op: "link.set", link: attachment.wire.hostIndex, group: now }]);
  if (policy.isUnguarded(attachment) === true) await kernel.guard.admit([anySource(attachment.wire.hostLink)]);
}

/**
 * Takes back whatever exists of an attachment that never served; its addresses carried nothing and need no cooling. What
 * cannot be taken back is logged and stays journalled, for DEL or the next start: the caller hears why ADD failed, not this.
 */
async function undo(attachment: Wired, netns: Netns, deps: AttachDeps): Promise<void> {
  const { pool, log } = deps;
  pool.leave(attachment);
  try {
    await unbuildWire(attachment, netns, deps);
    if (attachment.delegate !== undefined) await callDelegate("DEL", attachment.delegate);
    pool.release(attachment, { cool: false });
  } catch (error) {
    log.error({ attachment: attachmentKey(attachment), error: describe(error) }, "ADD was not wholly taken back");
  }
}

async function giveBack(delegate: NonNullable<Attachment["delegate"]>, deps: AttachDeps): Promise<void> {
  await callDelegate("DEL", delegate).catch((error: unknown) =>
    deps.log.error({ delegate: delegate.type, error: describe(error) }, "the addresses were not given back; DEL will"),
  );
}

const attempt = async (work: () => void): Promise<void> => work();
