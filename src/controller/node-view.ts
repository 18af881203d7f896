// A node as the controller sees it: what its Node object says of addresses, read once, beside the NodeNetwork of its agent. Pure.

import type { Node } from "../kube/core-objects.ts";
import type { NodeNetwork } from "../kube/objects.ts";
import { type Cidr, cidrFamily, parseCidr } from "../net/cidr.ts";
import { type Ip, parseIp } from "../net/ip.ts";

/** Addresses that a NodeNetwork has room for. */
const addressesMax = 8;

export interface NodeView {
  name: string;
  uid: string;
  resourceVersion: string;
  /** RFC 3339; "" where the server did not say. */
  createdAt: string;
  /** It waits for finalizers: nothing is given to it any more. */
  leaving: boolean;
  /** `podCIDRs`; empty also where they cannot be read. */
  podCidrs: readonly Cidr[];
  /** Why `podCIDRs` cannot be read. */
  malformed?: string;
  /** Its InternalIPs, in the kubelet's order. */
  addresses: readonly Ip[];
  /** The NodeNetwork of its name, where its agent made that for this Node and no namesake. */
  network?: NodeNetwork;
}

/** What the Node says; `network` is the NodeNetwork of that name, whoever made it. */
export function viewOf({ metadata, spec, status }: Node, network?: NodeNetwork): NodeView {
  const { name, uid = "", resourceVersion = "", creationTimestamp = "", deletionTimestamp } = metadata;
  const texts = spec.podCIDRs ?? (spec.podCIDR === undefined || spec.podCIDR === "" ? [] : [spec.podCIDR]);
  const own = network !== undefined && network.spec.nodeUid === uid && network.metadata.deletionTimestamp === undefined;
  return {
    name,
    uid,
    resourceVersion,
    createdAt: creationTimestamp,
    leaving: deletionTimestamp !== undefined,
    ...readCidrs(texts),
    addresses: internalAddresses(status.addresses ?? []),
    ...(own ? { network } : {}),
  };
}

/** Every Node with the NodeNetwork of its name. */
export function viewsOf(nodes: readonly Node[], networks: readonly NodeNetwork[]): NodeView[] {
  const byName = new Map(networks.map((network) => [network.metadata.name, network]));
  return nodes.map((node) => viewOf(node, byName.get(node.metadata.name)));
}

/** The blocks that its NodeNetwork tells of this Node; none of a namesake's. */
export function heldBlocks({ uid, network }: NodeView): Cidr[] {
  return network?.status?.nodeUid === uid ? network.status.blocks.map(({ cidr }) => cidr) : [];
}

function readCidrs(texts: readonly string[]): Pick<NodeView, "podCidrs" | "malformed"> {
  const cidrs: Cidr[] = [];
  for (const text of texts) {
    const cidr = parseCidr(text);
    if (cidr === undefined)
      return { podCidrs: [], malformed: `podCIDRs has ${JSON.stringify(text)}, which is no CIDR` };
    if (cidrs.some((other) => cidrFamily(other) === cidrFamily(cidr)))
      return { podCidrs: [], malformed: `podCIDRs has two networks of IPv${cidrFamily(cidr)}: ${texts.join(", ")}` };
    cidrs.push(cidr);
  }
  return { podCidrs: cidrs };
}

function internalAddresses(addresses: readonly { type: string; address: string }[]): Ip[] {
  const own = addresses.flatMap(({ type, address }) => {
    const ip = type === "InternalIP" ? parseIp(address) : undefined;
    return ip === undefined ? [] : [ip];
  });
  return [...new Set(own)].slice(0, addressesMax);
}
