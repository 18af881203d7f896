// What an attachment looks like in the kernel: names, numbers and operations, all decided before anything is changed. Pure.

import { hash } from "node:crypto";
import type { AttachmentResult, ResultDns } from "../cni/types.ts";
import { attachmentKey, type AttachmentId, type Wire, type Wired } from "../ipam/store.ts";
import type { GuardEntry, Op, Netns, Route, Rule } from "../kernel/contract.ts";
import { routeProtocol } from "../kernel/contract.ts";
import { type Cidr, cidrFamily, hostCidr, parseCidr } from "../net/cidr.ts";
import { gateways } from "../net/gateways.ts";
import { addressBits, type Ip, ipFamily } from "../net/ip.ts";
import { linkLocalOf, localMac } from "../net/mac.ts";
import { openClass } from "../policy/compile-classes.ts";
import { present } from "../base/assert.ts";

/** Every link of ours on the node begins so; the source guard matches on it. */
export const hostLinkPrefix = "fl";
/** Link group of pods that nothing judges. */
export const openGroup = openClass;
/** Link group of links that wait to be removed. */
export const doomedGroup = 99;
/** Link group of the links in the removal under way: never more than one batch. */
export const reapingGroup = 98;

const everything: { 4: Cidr; 6: Cidr } = {
  4: present(parseCidr("0.0.0.0/0"), "default route"),
  6: present(parseCidr("::/0"), "default route"),
};

/** RT_TABLE_LOCAL: what the machine itself answers to. */
export const localTable = 255;
/** RTPROT_KERNEL: such a route stands for one of the kernel's. */
const kernelProtocol = 2;

/** First word of the alias on our links: which layout the rest follows. */
const aliasVersion = "fairlead1";

/** Names and addresses that follow from the attachment's name alone, so that they can be found again without any state. */
export function derivedNames(id: AttachmentId): Pick<Wire, "hostLink" | "hostMac" | "podMac"> {
  const digest = hash("sha256", attachmentKey(id), "buffer");
  return {
    // 13 hexadecimal digits fill the 15 bytes of a link name; no digit is "x", which marks doomed links.
    hostLink: `${hostLinkPrefix}${digest.toString("hex", 0, 7).slice(0, 13)}`,
    hostMac: localMac(digest.subarray(8, 14)),
    podMac: localMac(digest.subarray(16, 22)),
  };
}

/** True for names that `derivedNames` gives. */
export function isHostLinkName(name: string): boolean {
  return /^fl[0-9a-f]{13}$/.test(name);
}

/** What a doomed link is called: unique while the link exists, and still ours to the source guard. */
export function doomedName(index: number): string {
  return `${hostLinkPrefix}x${index.toString(36)}`;
}

/** The alias on a host link: enough to know its attachment without the state file. */
export function hostLinkAlias(attachment: AttachmentId): string {
  return `${aliasVersion} ${attachmentKey(attachment)}`;
}

/** The attachment that an alias of ours names; undefined for any other text. */
export function attachmentOfAlias(alias: string): AttachmentId | undefined {
  const [version, key = ""] = alias.split(" ");
  const [network, containerId, ifname, ...rest] = key.split("/");
  if (version !== aliasVersion || !network || !containerId || !ifname || rest.length > 0) return undefined;
  return { network, containerId, ifname };
}

export function guardEntries({ wire, addresses }: Wired): GuardEntry[] {
  return addresses.map((address) => ({ link: wire.hostLink, address }));
}

/** Lets a pod's link send from any address. */
export function anySource(link: string): GuardEntry {
  return { link, address: "any" };
}

/** Every entry that there may be for it. */
export function allGuardEntries(attachment: Wired): GuardEntry[] {
  return [...guardEntries(attachment), anySource(attachment.wire.hostLink)];
}

/** The veth pair, both ends down. */
export function pairOp({ ifname, wire }: Wired, podNetns: Netns, group: number): Op {
  const { hostLink, hostIndex, podIndex, hostMac, podMac, mtu } = wire;
  return {
    op: "link.addVeth",
    name: hostLink,
    index: hostIndex,
    mac: hostMac,
    mtu,
    group,
    peer: { netns: podNetns, name: ifname, index: podIndex, mac: podMac, mtu },
  };
}

/** An address of the pod as it is configured and told. */
interface PodAddress {
  address: Ip;
  prefix: number;
  gateway: Ip;
}

/** Addresses of ours are single; those of another IPAM plugin keep the prefix length and gateway that it gave. No subnet is on the link in either case. */
function podAddresses({ addresses, wire }: Wired): PodAddress[] {
  return addresses.map((address, index) => {
    const { prefix = addressBits(ipFamily(address)), gateway = gateways[ipFamily(address)] } =
      wire.subnets?.[index] ?? {};
    return { address, prefix, gateway };
  });
}

/** The first address of each family, IPv4 first: what the pod sends from where nothing else says so. */
function mainAddresses(attachment: Wired): PodAddress[] {
  const all = podAddresses(attachment);
  return ([4, 6] as const).flatMap((family) => all.find(({ address }) => ipFamily(address) === family) ?? []);
}

/** Routes inside the pod: the next hop on the link, everything else through it. */
export function podRoutes(attachment: Wired): Route[] {
  const { podIndex: link, routes = [] } = attachment.wire;
  return mainAddresses(attachment).flatMap(({ address, gateway: via }) => {
    const family = ipFamily(address);
    const scope = family === 4 ? ({ scope: "link" } as const) : {};
    const src = family === 4 ? { src: address } : {};
    const further = routes.filter((to) => cidrFamily(to) === family);
    return [
      { to: hostCidr(via), link, ...scope },
      ...[everything[family], ...further].map((to): Route => ({ to, link, via, ...src })),
    ];
  });
}

/** Before the kernel's own rule for the main table, which has 32766 (ip-rule(8)), and behind what an administrator writes by hand. */
const sourceRulePriority = 20_000;

/** In a pod with interfaces before this one: packets from its addresses leave by it, whatever the first one's routes say. */
export function podSourceRules({ addresses, wire: { podIndex } }: Wired): Rule[] {
  return addresses.map((address) => ({
    family: ipFamily(address),
    priority: sourceRulePriority,
    table: podIndex,
    from: hostCidr(address),
  }));
}

/**
 * What a pod's second interface needs in `family`, in which the first has a default route: its own routes rank behind those in the
 * main table, and stand in a table of their own for packets from its addresses.
 */
export function secondOps(attachment: Wired, family: 4 | 6): Op[] {
  const { podIndex } = attachment.wire;
  const routes = podRoutes(attachment).filter(({ to }) => cidrFamily(to) === family);
  return [
    ...routes.map((route): Op => ({ op: "route.add", route: { ...route, metric: podIndex } })),
    ...routes.map((route): Op => ({ op: "route.add", route: { ...route, table: podIndex } })),
    ...podSourceRules(attachment)
      .filter((rule) => rule.family === family)
      .map((rule): Op => ({ op: "rule.add", rule })),
  ];
}

/** Everything inside the pod's namespace, where link 1 is always the loopback. */
export function podOps(attachment: Wired): Op[] {
  const { podIndex: link, podMac, hostMac } = attachment.wire;
  const hasIpv6 = attachment.addresses.some((address) => ipFamily(address) === 6);
  return [
    { op: "link.set", link: 1, up: true },
    { op: "link.set", link, linkLocal: "none", up: true },
    ...(hasIpv6 ? [{ op: "address.add", link, address: linkLocalOf(podMac), prefix: 64 } as const] : []),
    ...podAddresses(attachment).map(({ address, prefix }): Op => ({ op: "address.add", link, address, prefix })),
    ...podLocalRoutes(attachment).map((route): Op => ({ op: "route.add", route })),
    ...podNeighbours(attachment).map((address): Op => ({
      op: "neighbour.set",
      link,
      address,
      mac: hostMac,
    })),
    ...podRoutes(attachment).map((route): Op => ({ op: "route.add", route })),
  ];
}

/**
 * What makes the pod's IPv6 addresses its own. The kernel makes such routes too, but by a work queue: on a busy machine after ADD
 * has answered, and packets that come before are lost. Its own, of metric 0, is preferred once it is there.
 */
function podLocalRoutes({ addresses, wire: { podIndex: link } }: Wired): Route[] {
  const own = addresses.filter((address) => ipFamily(address) === 6);
  return own.map((address) => ({
    to: hostCidr(address),
    link,
    type: "local",
    table: localTable,
    protocol: kernelProtocol,
  }));
}

/** Next hops that the pod knows for good. */
export function podNeighbours(attachment: Wired): Ip[] {
  return mainAddresses(attachment).map(({ gateway }) => gateway);
}

/** The node's routes to the pod. `sources`: the node's own addresses. */
export function hostRoutes({ addresses, wire }: Wired, sources: { 4?: Ip; 6?: Ip }): Route[] {
  return addresses.map((address) => {
    const family = ipFamily(address);
    const src = sources[family];
    return {
      to: hostCidr(address),
      link: wire.hostIndex,
      protocol: routeProtocol,
      ...(family === 4 ? ({ scope: "link" } as const) : {}),
      ...(src === undefined ? {} : { src }),
    };
  });
}

/** Everything on the node's side. The host's end gets no address at all. */
export function hostOps(attachment: Wired, sources: { 4?: Ip; 6?: Ip }): Op[] {
  const { hostIndex: link, podMac } = attachment.wire;
  return [
    { op: "link.set", link, linkLocal: "none", alias: hostLinkAlias(attachment), up: true },
    ...attachment.addresses.map((address): Op => ({ op: "neighbour.set", link, address, mac: podMac })),
    ...hostRoutes(attachment, sources).map((route): Op => ({ op: "route.replace", route })),
  ];
}

/**
 * Takes a host link out of use at once; the reaper removes it. Going down takes its routes and neighbours along. It keeps
 * its name: a rename costs the kernel as much as all the rest, and the name is hardly ever wanted again before the reaper came.
 */
export function doomOps(link: number): Op[] {
  return [{ op: "link.set", link, up: false, group: doomedGroup }];
}

/** Takes a link of ours out of use and frees its name: for an ADD that wants the name now. */
export function putAsideOps(link: number): Op[] {
  return [...doomOps(link), { op: "link.set", link, rename: doomedName(link) }];
}

/** Takes the pod's end out of the way, so that the same name can be attached again before the pair is gone. */
export function podDoomOps(attachment: Wired): Op[] {
  const { podIndex: link } = attachment.wire;
  return [
    { op: "link.set", link, up: false },
    { op: "link.set", link, rename: doomedName(link) },
    ...podRuleRemovals(attachment),
  ];
}

/** Only a second interface has rules; their removal costs others next to nothing. */
export function podRuleRemovals(attachment: Wired): Op[] {
  return podSourceRules(attachment).map((rule) => ({ op: "rule.remove", rule }));
}

/** What ADD answers. Interface 0 is the host's end, 1 the pod's. */
export function attachmentResult(attachment: Wired, dns?: ResultDns): AttachmentResult {
  const { ifname, netnsPath, wire } = attachment;
  return {
    interfaces: [
      { name: wire.hostLink, mac: wire.hostMac, mtu: wire.mtu, sandbox: "" },
      { name: ifname, mac: wire.podMac, mtu: wire.mtu, sandbox: netnsPath },
    ],
    ips: podAddresses(attachment).map((entry) => ({ interface: 1, ...entry })),
    routes: podRoutes(attachment).flatMap(({ to, via }) => (via === undefined ? [] : [{ to, via }])),
    ...(dns === undefined ? {} : { dns }),
  };
}
