// Which loop a change of the node's network concerns: what somebody else does to pods' links, routes and rules is noticed at once.

import type { Pool } from "../ipam/pool.ts";
import { type Kernel, type KernelChange, nftablesThread, ownTables, routeProtocol } from "../kernel/contract.ts";
import { cidrPrefix } from "../net/cidr.ts";
import type { Uplink } from "./uplink.ts";

/** Loops that can be asked for a pass by a change in the kernel. */
export const watchingLoops = [
  "repair",
  "vanished",
  "host",
  "guard",
  "masquerade",
  "policy",
  "uplink",
  "obstacles",
] as const;
export type WatchingLoop = (typeof watchingLoops)[number];

export interface WatchDeps {
  kernel: Pick<Kernel, "watch">;
  pool: Pick<Pool, "all">;
  uplink: () => Uplink;
  trigger: (loop: WatchingLoop) => void;
}

/** Starts to watch; the result ends it. */
export function watchNode({ kernel, pool, uplink, trigger }: WatchDeps): () => void {
  return kernel.watch((change) => {
    const ownerOf = (index: number | undefined): Owner => (index === undefined ? "nobody" : ownerIn(pool, index));
    for (const loop of concerned(change, ownerOf, uplink().link.index)) trigger(loop);
  });
}

/** Whose link it is: a pod's that serves, a pod's that is being made or removed, or none of ours. */
export type Owner = "living" | "changing" | "nobody";

function ownerIn(pool: Pick<Pool, "all">, index: number): Owner {
  const held = pool.all().find(({ attachment }) => attachment.wire?.hostIndex === index);
  if (held === undefined) return "nobody";
  return held.state === "ready" && !held.leaving ? "living" : "changing";
}

/** What other programs do to their own tables is nothing that a table of ours would have to be read for: policy's can take a second. */
const keepers = ["guard", "masquerade", "policy"] as const;
const touches = ({ tables }: { tables?: readonly string[] }, keeper: (typeof keepers)[number]): boolean =>
  tables === undefined || tables.includes(ownTables[keeper]);

/** Our own work comes back as changes too: those of links that are being made or removed concern nobody. */
export function concerned(
  change: KernelChange,
  ownerOf: (index: number | undefined) => Owner,
  uplinkIndex: number,
): readonly WatchingLoop[] {
  switch (change.what) {
    case "lost":
      return watchingLoops;
    case "nftables":
      return change.by === nftablesThread ? [] : [...keepers.filter((keeper) => touches(change, keeper)), "obstacles"];
    case "link":
      if (change.index === uplinkIndex) return ["uplink", "host"];
      if (ownerOf(change.index) !== "living") return [];
      return change.removed ? ["vanished"] : ["repair"];
    case "address":
      return change.link === uplinkIndex ? ["uplink"] : [];
    case "neighbour":
      return change.removed && ownerOf(change.link) === "living" ? ["repair"] : [];
    case "route": {
      const owner = ownerOf(change.link);
      if (owner !== "nobody") return owner === "living" ? ["repair"] : [];
      if (change.protocol === routeProtocol) return ["host"];
      return cidrPrefix(change.to) === 0 ? ["uplink"] : [];
    }
    case "rule":
      return change.removed ? [] : ["host"];
    default:
      return change satisfies never;
  }
}
