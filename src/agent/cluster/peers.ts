// The ways to other nodes' blocks, from their NodeNetworks: pure. Whatever cannot be a way becomes a fault in words, never a route.

import type { NodeNetwork } from "../../kube/objects.ts";
import { type Cidr, cidrBase, cidrContains, cidrFamily, cidrPrefix, cidrsOverlap } from "../../net/cidr.ts";
import { type Ip, ipFamily, ipToNumber } from "../../net/ip.ts";
import type { NodeRoute } from "../place.ts";

/** Something that an agent or its node cannot do at present. */
export interface NodeFault {
  code: string;
  message: string;
}

export interface PeersSeen {
  routes: NodeRoute[];
  faults: NodeFault[];
}

export interface Standing {
  nodeName: string;
  blocks: readonly Cidr[];
  /** Networks that the uplink reaches without a router. */
  near: readonly Cidr[];
}

interface Claim {
  node: string;
  block: Cidr;
  /** The block's first address. */
  first: bigint;
  addresses: readonly Ip[];
}

/**
 * One route for each block of every other node that lies on this node's own segment. Left out, and told: a block that overlaps
 * another node's, this node's or the segment's own addresses; a node without an address of the block's family; a node elsewhere.
 */
export function peerRoutes(networks: readonly NodeNetwork[], standing: Standing): PeersSeen {
  const { nodeName, blocks, near } = standing;
  const claims = networks.flatMap(({ metadata: { name }, status }): Claim[] =>
    name === nodeName || status === undefined
      ? []
      : status.blocks.map(({ cidr }) => ({
          node: name,
          block: cidr,
          first: ipToNumber(cidrBase(cidr)),
          addresses: status.addresses,
        })),
  );
  const routes: NodeRoute[] = [];
  const faults: NodeFault[] = [];
  const fault = (code: string, message: string): void => void faults.push({ code, message });
  let last: Claim | undefined; // the widest block that begins before or where this one does
  for (const claim of claims.toSorted(byPlace)) {
    const { node, block } = claim;
    const taken = blocks.find((own) => cidrsOverlap(own, block)) ?? near.find((subnet) => cidrsOverlap(subnet, block));
    if (taken !== undefined) {
      fault("block-overlap", `block ${block} of node ${node} overlaps ${taken} of this node; it gets no route`);
    } else if (last !== undefined && cidrsOverlap(last.block, block)) {
      fault(
        "block-overlap",
        `block ${block} of node ${node} overlaps ${last.block} of node ${last.node}; only that one gets a route`,
      );
    } else {
      last = claim;
      const via = claim.addresses.find((address) => ipFamily(address) === cidrFamily(block));
      if (via === undefined) {
        fault(
          "no-address",
          `node ${node} has no IPv${cidrFamily(block)} address, so its block ${block} cannot be reached`,
        );
      } else if (!near.some((subnet) => cidrContains(subnet, via))) {
        fault(
          "other-segment",
          `node ${node} (${via}) is not on this node's segment (${near.join(", ")}), so its block ${block} cannot be reached: provider "none" needs all nodes on one segment`,
        );
      } else routes.push({ to: block, via });
    }
  }
  return { routes, faults };
}

/** By family, first address, width (the wider first), then by name: the same choice on every node. */
function byPlace(a: Claim, b: Claim): number {
  const families = cidrFamily(a.block) - cidrFamily(b.block);
  if (families !== 0) return families;
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  return cidrPrefix(a.block) - cidrPrefix(b.block) || (a.node < b.node ? -1 : 1);
}
