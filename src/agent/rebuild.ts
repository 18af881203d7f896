// Attachments read back from the kernel: what a lost state file can be made of again.

import type { Log } from "../base/log.ts";
import type { Pool } from "../ipam/pool.ts";
import { type Attachment, attachmentKey, type Wired } from "../ipam/store.ts";
import { type Kernel, type Link, type Neighbour, type Route, routeProtocol } from "../kernel/contract.ts";
import { cidrBase, cidrFamily, cidrPrefix } from "../net/cidr.ts";
import { addressBits } from "../net/ip.ts";
import { attachmentOfAlias, derivedNames, openGroup } from "./plan.ts";

/** What is seen of the node. */
export interface NodeView {
  links: readonly Link[];
  routes: readonly Route[];
  neighbours: readonly Neighbour[];
}

export async function viewNode({ node }: Kernel): Promise<NodeView> {
  const [links, routes, neighbours] = await Promise.all([node.links(), node.routes(), node.neighbours()]);
  return { links, routes, neighbours };
}

/**
 * Every attachment whose link tells all of it: alias, routes to its addresses, permanent neighbours. A link in the doomed
 * groups, or one that only half an ADD has made, tells of none. Where the namespace lies is not known; DEL says so.
 */
export function attachmentsIn(view: NodeView, nowMs: number): Wired[] {
  return view.links.flatMap((link) => attachmentOn(link, view, nowMs) ?? []);
}

function attachmentOn(link: Link, { routes, neighbours }: NodeView, nowMs: number): Wired | undefined {
  const { index, name, kind, group, alias, mac, mtu, peerIndex } = link;
  const id = attachmentOfAlias(alias);
  if (kind !== "veth" || group < openGroup || id === undefined || derivedNames(id).hostLink !== name) return undefined;
  const addresses = routes
    .filter((route) => route.link === index && route.protocol === routeProtocol)
    .filter(({ to }) => cidrPrefix(to) === addressBits(cidrFamily(to)))
    .map(({ to }) => cidrBase(to));
  const known = neighbours.find((entry) => entry.link === index && entry.permanent && entry.mac !== undefined);
  const podMac = known?.mac ?? derivedNames(id).podMac;
  if (addresses.length === 0 || mac === undefined || peerIndex === undefined) return undefined;
  return {
    ...id,
    addresses,
    netnsPath: "",
    wire: { hostLink: name, hostIndex: index, podIndex: peerIndex, hostMac: mac, podMac, mtu },
    createdMs: nowMs,
  };
}

/** An attachment that was read back, and of which it is not known yet whose it is; one whose runtime named no pod has a namespace. */
export const isNameless = ({ pod, netnsPath }: Attachment): boolean => pod === undefined && netnsPath === "";

/** Gives attachments that were read back their pods, where `ownerOf` knows them by now. */
export function nameReadBack(
  pool: Pick<Pool, "all" | "identify">,
  ownerOf: (attachment: Attachment) => Attachment["pod"],
  log: Log,
): void {
  for (const { attachment } of pool.all()) {
    const pod = isNameless(attachment) ? ownerOf(attachment) : undefined;
    if (pod === undefined) continue;
    log.info({ attachment: attachmentKey(attachment), pod: `${pod.namespace}/${pod.name}` }, "known again whose it is");
    pool.identify(attachment, pod);
  }
}
