// The real kernel: the node's namespace with its guard, connection tracking and changes, and any other by its path, through the addon.

import { present } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { type Addon, type Descriptor, loadAddon } from "./addon.ts";
import { createConntrack } from "./conntrack/conntrack.ts";
import type { Kernel, Netns } from "./contract.ts";
import { addonFault, createSequence } from "./netlink/message.ts";
import { type NetnsHandle, openNetns } from "./netlink/netns.ts";
import { callTimeoutMs } from "./netlink/session.ts";
import { createGuard } from "./nftables/guard.ts";
import { createWatch } from "./watch/watch.ts";

/** The namespace that this program runs in. */
const ownNetns = "/proc/self/ns/net";
const nfnetlinkProtocol = 12;
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
export function openKernel({ nodeNetns = ownNetns, addon = loadAddon(), log }: KernelOptions): Kernel {
  const open = new Map<Netns, NetnsHandle>();
  const node = openNetns(nodeNetns, { addon, open });
  const { descriptor } = present(open.get(node), "the node's namespace");
  const nfnetlink = openNfnetlink(addon, descriptor);
  let closed = false;

  function mustBeOpen(what: string): void {
    if (closed) throw new Fault("agent-stopping", `${what}: the kernel was closed`);
  }

  const watch = createWatch({ addon, netns: descriptor, mustBeOpen });
  log.debug({ netns: node.id, path: nodeNetns }, "kernel opened");
  return {
    node,
    guard: createGuard({
      call: (request) => addon.call(nfnetlinkLane, nfnetlink, request, callTimeoutMs),
      nextSequence: createSequence(),
    }),
    conntrack: createConntrack({ addon, netns: descriptor, mustBeOpen }),
    watch: watch.watch,
    openNetns: (path) => {
      mustBeOpen(`opening network namespace ${path}`);
      return openNetns(path, { addon, open });
    },
    close: () => {
      if (closed) return;
      closed = true;
      watch.close();
      for (const netns of open.keys()) netns.close();
      addon.close(nfnetlink);
      addon.stop();
      log.debug("kernel closed");
    },
  };
}

function openNfnetlink(addon: Addon, netns: Descriptor): Descriptor {
  try {
    return addon.openNetlink(netns, nfnetlinkProtocol);
  } catch (cause) {
    throw addonFault("an nfnetlink socket in the node's namespace", cause);
  }
}
