// What must hold at every moment: no block ever belongs to two nodes, whatever is written by whom. Looks at each change in the store.

import type { Store } from "../../lab/kube/store.ts";
import { nodes } from "../../src/kube/core-objects.ts";
import { nodeNetworks } from "../../src/kube/objects.ts";
import { type Cidr, cidrsOverlap, parseCidr } from "../../src/net/cidr.ts";

export interface Guard {
  /** What has been broken so far, in words. */
  broken(): readonly string[];
}

/** Follows all claims: the podCIDRs of Nodes, and the blocks that NodeNetworks tell of. */
export function guardBlocks(store: Store): Guard {
  /** By kind and name, what it claims. */
  const claims = new Map<string, { name: string; cidrs: Cidr[] }>();
  const broken: string[] = [];
  store.onChange((shelf, { type, after }) => {
    if (shelf !== "/nodes" && shelf !== "fairlead.dev/nodenetworks") return;
    const key = `${shelf}/${after.key}`;
    if (type === "DELETED") {
      claims.delete(key);
      return;
    }
    const cidrs =
      shelf === "/nodes"
        ? (nodes.parse(after.object).spec.podCIDRs ?? []).flatMap((text) => parseCidr(text) ?? [])
        : (nodeNetworks.parse(after.object).status?.blocks.map(({ cidr }) => cidr) ?? []);
    claims.set(key, { name: after.key, cidrs });
    for (const [otherKey, other] of claims) {
      if (other.name === after.key) continue;
      for (const cidr of cidrs)
        if (other.cidrs.some((claimed) => cidrsOverlap(claimed, cidr)))
          broken.push(`${cidr} of ${key} is ${otherKey}'s`);
    }
  });
  return { broken: () => broken };
}
