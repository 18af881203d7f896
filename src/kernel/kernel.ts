// The real kernel: the node's namespace with its guard, connection tracking and changes, and any other by its path, through the addon.

import { present } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { type Addon, type Descriptor, type Lane, loadAddon } from "./addon.ts";
import { createConntrack } from "./conntrack/conntrack.ts";
import type { Kernel, KernelLane, Netns } from "./contract.ts";
import { addonFault, createSequence, netlinkProtocol } from "./netlink/message.ts";
import { createFlowLog } from "./flow-log/flow-log.ts";
import { type NetnsHandle, openNetns } from "./netlink/netns.ts";
import { callTimeoutMs, routeLane } from "./netlink/session.ts";
import { type ChannelOptions, createChannel } from "./nftables/channel.ts";
import { readUntracked } from "./nftables/untracked.ts";
import { readForwardChains } from "./nftables/forward-chains.ts";
import { createGuard } from "./nftables/guard.ts";
import { createMasquerade } from "./nftables/masq.ts";
import { createPolicyTable } from "./nftables/policy.ts";
import { createWatch } from "./watch/watch.ts";

/** The namespace that this program runs in. */
const ownNetns = "/proc/self/ns/net";
const nfnetlinkLane = 1;

export interface KernelOptions {
  /** Path of the namespace that counts as the node's. */
  nodeNetns?: string;
  addon?: Addon;
  log: Log;
}

/**
 * Opens the kernel. Needs CAP_NET_ADMIN in the namespaces it works on, and CAP_SYS_ADMIN to enter them.
 * Closing it stops the addon's threads, which all kernels of one process share: calls of another that are under way fail then,
 * and what it watches falls silent.
 * @throws Fault "machine-unfit" where the addon is missing, "netns-missing" where `nodeNetns` is no network namespace
 */
export function openKernel({ nodeNetns = ownNetns, addon: bare = loadAddon(), log }: KernelOptions): Kernel {
  const { addon, underWay } = countCalls(bare);
  const open = new Map<Netns, NetnsHandle>();
  const node = openNetns(nodeNetns, { addon, open });
  const { descriptor } = present(open.get(node), "the node's namespace");
  const nfnetlink = openNfnetlink(addon, descriptor);
  let closed = false;

  function mustBeOpen(what: string): void {
    if (closed) throw new Fault("agent-stopping", `${what}: the kernel was closed`);
  }

  const watch = createWatch({ addon, netns: descriptor, mustBeOpen });
  const flowLog = createFlowLog({ addon, netns: descriptor, mustBeOpen });
  log.debug({ netns: node.id, path: nodeNetns }, "kernel opened");
  const rulesets: ChannelOptions = {
    call: (request) => addon.call(nfnetlinkLane, nfnetlink, request, callTimeoutMs),
    nextSequence: createSequence(),
  };
  return {
    node,
    guard: createGuard(rulesets),
    masquerade: createMasquerade(rulesets),
    policy: createPolicyTable(rulesets),
    untrackedRules: () => readUntracked(createChannel(rulesets)),
    forwardChains: () => readForwardChains(createChannel(rulesets)),
    callsUnderWay: underWay,
    conntrack: createConntrack({ addon, netns: descriptor, mustBeOpen }),
    flowLog,
    watch: watch.watch,
    openNetns: (path) => {
      mustBeOpen(`opening network namespace ${path}`);
      return openNetns(path, { addon, open });
    },
    close: () => {
      if (closed) return;
      closed = true;
      watch.close();
      flowLog.close();
      for (const netns of open.keys()) netns.close();
      addon.close(nfnetlink);
      addon.stop();
      log.debug("kernel closed");
    },
  };
}

/** The addon with a count of its calls that have not ended. */
function countCalls(addon: Addon): { addon: Addon; underWay: () => Record<KernelLane, number> } {
  const counts: [number, number, number] = [0, 0, 0];
  const counted = <T>(lane: Lane, work: Promise<T>): Promise<T> => {
    counts[lane] += 1;
    return work.finally(() => (counts[lane] -= 1));
  };
  return {
    // Its functions are the module's own: none of them looks at the object that it is called on.
    addon: {
      ...addon,
      call: (lane, ...rest) => counted(lane, addon.call(lane, ...rest)),
      firstPart: (lane, ...rest) => counted(lane, addon.firstPart(lane, ...rest)),
      nextPart: (lane, ...rest) => counted(lane, addon.nextPart(lane, ...rest)),
      writeSysctls: (...rest) => counted(routeLane, addon.writeSysctls(...rest)),
      readSysctls: (...rest) => counted(routeLane, addon.readSysctls(...rest)),
      tcxPrograms: (...rest) => counted(routeLane, addon.tcxPrograms(...rest)),
    },
    underWay: () => ({ route: counts[0], nftables: counts[1], removal: counts[2] }),
  };
}

function openNfnetlink(addon: Addon, netns: Descriptor): Descriptor {
  try {
    return addon.openNetlink(netns, netlinkProtocol.netfilter);
  } catch (cause) {
    throw addonFault("an nfnetlink socket in the node's namespace", cause);
  }
}
