// The veth pair of an attachment in the kernel: made in one breath, and taken back where a step fails.

import { present } from "../base/assert.ts";
import { Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { pause } from "../base/pause.ts";
import type { Wired } from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Kernel, Netns, Op, OpResult } from "../kernel/contract.ts";
import { cidrFamily } from "../net/cidr.ts";
import { ipFamily } from "../net/ip.ts";
import {
  allGuardEntries,
  attachmentOfAlias,
  guardEntries,
  hostOps,
  pairOp,
  podOps,
  podRuleRemovals,
  putAsideOps,
  secondOps,
} from "./plan.ts";
import type { Uplink } from "./uplink.ts";

/** Questions, a millisecond apart, before ADD answers all the same: a busy machine is no reason to refuse a pod. */
const carriesTriesMax = 200;

export interface WireDeps {
  kernel: Kernel;
  uplink: () => Uplink;
  log: Log;
  /** Ends waits. */
  signal: AbortSignal;
  /** Called when a link was doomed. */
  onDoomed: () => void;
}

/**
 * Makes everything, in one breath: the namespaces' operations are queued one behind the other on one kernel thread, the
 * guard's on another. They can name the links because the agent chose their indexes.
 * @throws Fault "interface-exists", "kernel-…"; what was made by then is for `unbuildWire`
 */
export async function buildWire(attachment: Wired, { netns, group }: PodEnd, deps: WireDeps): Promise<void> {
  const { log } = deps;
  let made = await sendAll(attachment, { netns, group }, deps);
  if (isFault(made.pair, "kernel-exists") && (await freeName(attachment, deps))) {
    log.info({ link: attachment.wire.hostLink }, "tried again: an earlier link had the name");
    made = await sendAll(attachment, { netns, group }, deps);
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

/** Where the pod is, and the group of its link on the node from the first moment on. */
export interface PodEnd {
  netns: Netns;
  group: number;
}

interface Made {
  /** Why the pair could not be made; whatever else failed then only follows from it. */
  pair: Fault | undefined;
  host: Fault | undefined;
  /** Answers to `podOps`, one each. */
  pod: OpResult[];
}

async function sendAll(
  attachment: Wired,
  { netns, group }: PodEnd,
  { kernel, uplink, signal }: WireDeps,
): Promise<Made> {
  const hasIpv6 = attachment.addresses.some((address) => ipFamily(address) === 6);
  const [, [pair], host, pod, carries] = await settled([
    // Namespaces can start with IPv6 off; an address could not be added then.
    hasIpv6
      ? netns.writeSysctls({ "ipv6/conf/all/disable_ipv6": "0", "ipv6/conf/default/disable_ipv6": "0" })
      : Promise.resolve(),
    kernel.node.apply([pairOp(attachment, netns, group)]), // takes longest: under way while the rest is being encoded
    kernel.node.apply(hostOps(attachment, uplink().addresses)),
    netns.apply(podOps(attachment)),
    kernel.node.carries(attachment.wire.hostIndex), // behind the pod's end, which the host's end was up before
    kernel.guard.admit(guardEntries(attachment)), // the shortest, on a thread of its own: last
  ]);
  if (!carries) await untilCarries(attachment, kernel, signal);
  return { pair: present(pair, "answer").fault, host: host.find(({ fault }) => fault !== undefined)?.fault, pod };
}

/** Kernels before 6.8: their link watch comes by itself, within a millisecond or two where the machine is idle. */
async function untilCarries({ wire }: Wired, kernel: Kernel, signal: AbortSignal): Promise<void> {
  for (let tries = 0; tries < carriesTriesMax; tries += 1) {
    await pause(1, signal);
    if (await kernel.node.carries(wire.hostIndex)) return;
  }
}

/** A second interface of a pod finds the routes of the first: it then gets what `secondOps` says. */
async function finishPodSide(attachment: Wired, netns: Netns, results: readonly OpResult[]): Promise<void> {
  const ops = podOps(attachment);
  const failed = results.flatMap(({ fault }, index) => (fault === undefined ? [] : [{ fault, op: ops[index] }]));
  const families = ([4, 6] as const).filter((family) =>
    failed.some(({ op, fault }) => isRouteOf(op, family) && isFault(fault, "kernel-exists")),
  );
  // Where the route to the next hop was there already, the routes through it could not be made either.
  const strange = failed.find(({ op }) => !families.some((family) => isRouteOf(op, family)));
  if (strange !== undefined) throw strange.fault;
  if (families.length > 0)
    await applyAll(
      netns,
      families.flatMap((family) => secondOps(attachment, family)),
    );
}

const isRouteOf = (op: Op | undefined, family: 4 | 6): boolean =>
  op?.op === "route.add" && cidrFamily(op.route.to) === family;

/**
 * Frees the host link's name where a link of ours holds it: one that waits for the reaper, or one that no journal knows.
 * True where it is worth trying again; the reaper may have been faster.
 */
async function freeName({ wire }: Wired, { kernel, onDoomed }: WireDeps): Promise<boolean> {
  const link = await kernel.node.link(wire.hostLink);
  if (link === undefined) return true;
  if (attachmentOfAlias(link.alias) === undefined) return false;
  await unlessGone(applyAll(kernel.node, putAsideOps(link.index)));
  onDoomed();
  return true;
}

/** Takes back whatever exists of a pair that never served, its guard entries, and its rules in the pod. */
export async function unbuildWire(attachment: Wired, netns: Netns, { kernel }: WireDeps): Promise<void> {
  await settled([
    kernel.guard.withdraw(allGuardEntries(attachment)),
    removeOwnLink(attachment, kernel),
    applyAll(netns, podRuleRemovals(attachment)),
  ]);
}

/** Only a link that carries this attachment's own name and hardware address is ours to remove. */
async function removeOwnLink({ wire }: Wired, kernel: Kernel): Promise<void> {
  const link = await kernel.node.link(wire.hostLink);
  if (link?.mac === wire.hostMac) await applyAll(kernel.node, [{ op: "link.remove", link: link.index }]);
}

/** A pair can vanish under our feet, with its pod's namespace. */
export async function unlessGone(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isFault(error, "kernel-missing")) throw error;
  }
}

/** As Promise.all, but waits for every one before it throws: an undo must not run beside work that is still under way. */
export async function settled<T extends readonly unknown[]>(
  work: readonly [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work);
  return Promise.all(work);
}
