// Connections as they begin and end, as the kernel's multicast groups tell it.

import type { ConnectionEvent } from "../flow-log-contract.ts";
import { splitMessages } from "../netlink/message.ts";
import { conntrackMessage, decodeConnection } from "./messages.ts";

/** NFNLGRP_CONNTRACK_NEW and NFNLGRP_CONNTRACK_DESTROY (linux/netfilter/nfnetlink.h). */
export const connectionGroups: readonly number[] = [1, 3];

const whats: ReadonlyMap<number, "began" | "ended"> = new Map([
  [conntrackMessage.new, "began"],
  [conntrackMessage.delete, "ended"],
]);

/**
 * The events of a datagram whose entries `isWanted` by their bytes; "lost" for one that was lost (undefined), or cannot be read.
 * Never throws.
 */
export function readConnectionEvents(
  datagram: Buffer | undefined,
  isWanted: (body: Buffer) => boolean,
): ConnectionEvent[] {
  if (datagram === undefined) return [{ what: "lost" }];
  try {
    return splitMessages(datagram).flatMap(({ type, body }): ConnectionEvent[] => {
      const what = whats.get(type);
      return what === undefined || !isWanted(body) ? [] : [{ what, connection: decodeConnection(body) }];
    });
  } catch {
    return [{ what: "lost" }];
  }
}
