// Watching one namespace: two monitored sockets for as long as somebody watches, and whoever wants to hear.

import { Fault } from "../../base/fault.ts";
import type { Addon, Descriptor } from "../addon.ts";
import { type Kernel, type KernelChange, watchersMax } from "../contract.ts";
import { addonFault, netlinkProtocol } from "../netlink/message.ts";
import { nftablesGroups, readChanges, routeGroups, type Touched } from "./changes.ts";

const sources = [
  { protocol: netlinkProtocol.route, groups: routeGroups },
  { protocol: netlinkProtocol.netfilter, groups: nftablesGroups },
] as const;

export interface WatchDeps {
  addon: Pick<Addon, "openNetlink" | "monitor" | "close">;
  netns: Descriptor;
  /** Throws once the kernel is closed. */
  mustBeOpen: (what: string) => void;
}

export interface Watch {
  watch: Kernel["watch"];
  /** Ends all watching. */
  close(): void;
}

/** The watch on the namespace behind `netns`. */
export function createWatch({ addon, netns, mustBeOpen }: WatchDeps): Watch {
  const watchers = new Set<{ onChange: (change: KernelChange) => void }>();
  let sockets: Descriptor[] = [];

  /** One place for all watchers: each change is read once, and a watcher that has stopped hears no more of the same datagram. */
  function tell(datagram: Buffer | undefined, touched: Touched): void {
    if (datagram === undefined) touched.clear();
    const changes: KernelChange[] = datagram === undefined ? [{ what: "lost" }] : readChanges(datagram, touched);
    for (const change of changes) {
      for (const watcher of watchers) watcher.onChange(change);
    }
  }

  function open(): void {
    try {
      for (const { protocol, groups } of sources) {
        const socket = addon.openNetlink(netns, protocol);
        sockets.push(socket);
        const touched: Touched = new Set();
        addon.monitor(socket, groups, (datagram) => tell(datagram, touched));
      }
    } catch (cause) {
      shut();
      throw addonFault("watching a network namespace", cause);
    }
  }

  function shut(): void {
    for (const socket of sockets) addon.close(socket);
    sockets = [];
  }

  return {
    watch: (onChange) => {
      mustBeOpen("watching a network namespace");
      if (watchers.size >= watchersMax) {
        throw new Fault("kernel-busy", `watching a network namespace: ${watchersMax} watch it already; stop one first`);
      }
      if (watchers.size === 0) open();
      const watcher = { onChange };
      watchers.add(watcher);
      return () => {
        if (watchers.delete(watcher) && watchers.size === 0) shut();
      };
    },
    close: () => {
      watchers.clear();
      shut();
    },
  };
}
