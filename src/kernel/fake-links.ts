// The fake kernel's links: veth pairs, changes, carrier, and what a link that goes down or away takes along.

import { present } from "../base/assert.ts";
import { type Ip, parseIp } from "../net/ip.ts";
import { type Mac, linkLocalOf, macBytes } from "../net/mac.ts";
import type { Link, LinkChange, LinkRef, Op } from "./contract.ts";
import { addAddress, dropAddressesOf, dropNeighboursOf } from "./fake-addresses.ts";
import { dropRoutesOf, followMtu } from "./fake-routes.ts";
import {
  type FakeLink,
  type FakeNamespace,
  type Refusal,
  addLink,
  findLink,
  hasIpv6,
  inheritSettings,
  ipv6Disabled,
  isRunning,
  loopbackIndex,
  refusal,
} from "./fake-world.ts";

/** What the veth driver takes (linux/if_ether.h, drivers/net/veth.c). */
const vethMtu = { min: 68, max: 65535 } as const;
const nameLenMax = 15;
const ip = (text: string): Ip => present(parseIp(text), text);
const loopback4 = ip("127.0.0.1");
const loopback6 = ip("::1");

/** Makes a pair, both ends down; the peer in `peerNamespace`. Gives this end, or why not. */
export function addVeth(
  namespace: FakeNamespace,
  op: Op & { op: "link.addVeth" },
  peerNamespace: FakeNamespace,
): FakeLink | NonNullable<Refusal> {
  // In the kernel's order: of several reasons it names the first.
  const refused =
    refuseIndex(namespace, op.index, "EEXIST") ??
    refuseMac(op.mac) ??
    refuseMac(op.peer.mac) ??
    refuseMtu("veth", op.mtu) ??
    refuseMtu("veth", op.peer.mtu) ??
    refuseName(peerNamespace, op.peer.name) ??
    refuseName(namespace, op.name) ??
    (namespace === peerNamespace && op.name === op.peer.name ? refusal("EEXIST") : undefined) ??
    refuseIndex(peerNamespace, op.peer.index, "EBUSY");
  if (refused !== undefined) return refused;
  const { name, mac, mtu } = op.peer;
  const peer = addLink(peerNamespace, { name, mac, mtu, kind: "veth", group: 0 }, op.peer.index);
  const own = { name: op.name, mac: op.mac, mtu: op.mtu, kind: "veth", group: op.group } as const;
  const link = addLink(namespace, own, op.index);
  link.peer = { namespace: peerNamespace, link: peer };
  peer.peer = { namespace, link };
  return link;
}

function refuseIndex(namespace: FakeNamespace, index: number | undefined, errno: "EEXIST" | "EBUSY"): Refusal {
  return index !== undefined && namespace.links.has(index) ? refusal(errno) : undefined;
}

function refuseMac(mac: Mac): Refusal {
  const bytes = macBytes(mac);
  const isUnicast = ((bytes[0] ?? 0) & 1) === 0 && bytes.some((byte) => byte !== 0);
  return isUnicast ? undefined : refusal("EADDRNOTAVAIL");
}

/** Seen before anything of the message is done. */
const tooLong = refusal("ERANGE", "Attribute failed policy validation");
const isTooLong = (name: string): boolean => Buffer.byteLength(name) > nameLenMax;

function refuseName(namespace: FakeNamespace, name: string): Refusal {
  if (isTooLong(name)) return tooLong;
  // "%" would ask the kernel to choose a number; nothing of ours does.
  if (name === "" || name === "." || name === ".." || /[/:%\s]/.test(name)) return refusal("EINVAL");
  return findLink(namespace, name) === undefined ? undefined : refusal("EEXIST");
}

function refuseMtu(kind: FakeLink["kind"], mtu: number): Refusal {
  if (kind !== "veth") return undefined;
  if (mtu < vethMtu.min) return refusal("EINVAL", "mtu less than device minimum");
  return mtu > vethMtu.max ? refusal("EINVAL", "mtu greater than device maximum") : undefined;
}

/** Changes the link, in the order in which the kernel does; what was done before a refusal stays done. */
export function changeLink(namespace: FakeNamespace, ref: LinkRef, change: LinkChange): Refusal {
  const link = findLink(namespace, ref);
  if (link === undefined) return refusal("ENODEV");
  const { linkLocal, ...rest } = change;
  const { up, rename } = rest;
  let refused: Refusal;
  if (linkLocal !== undefined && hasIpv6(link))
    link.settings.set("ipv6/addr_gen_mode", linkLocal === "none" ? "1" : "0");
  else if (linkLocal === "eui64") refused = refusal("EAFNOSUPPORT");
  if (up === false && rename !== undefined) setDown(namespace, link);
  // Messages of their own: the rest is done though the first was refused.
  const restRefused = changeRest(namespace, link, rest);
  return refused ?? restRefused;
}

function changeRest(
  namespace: FakeNamespace,
  link: FakeLink,
  { mac, mtu, group, rename, alias, up }: Omit<LinkChange, "linkLocal">,
): Refusal {
  if (rename !== undefined && isTooLong(rename)) return tooLong;
  if (mac !== undefined) {
    const refused = refuseMac(mac);
    if (refused !== undefined) return refused;
    link.mac = mac;
    dropNeighboursOf(namespace, link, "all");
  }
  if (mtu !== undefined) {
    const refused = refuseMtu(link.kind, mtu);
    if (refused !== undefined) return refused;
    setMtu(namespace, link, mtu);
  }
  link.group = group ?? link.group;
  if (rename !== undefined && rename !== link.name) {
    const refused = refuseName(namespace, rename);
    if (refused !== undefined) return refused;
    link.name = rename;
  }
  link.alias = alias ?? link.alias;
  if (up === true) setUp(namespace, link);
  if (up === false) setDown(namespace, link);
  return undefined;
}

function setMtu(namespace: FakeNamespace, link: FakeLink, mtu: number): void {
  const [hadIpv6, oldMtu] = [hasIpv6(link), link.mtu];
  link.mtu = mtu;
  followMtu(namespace, link, oldMtu);
  if (hadIpv6 && !hasIpv6(link)) {
    dropIpv6(namespace, link);
    for (const key of link.settings.keys()) if (key.startsWith("ipv6/")) link.settings.delete(key);
  }
  if (!hadIpv6) inheritSettings(namespace, link.settings, "ipv6");
  startIpv6(namespace, link);
}

function setUp(namespace: FakeNamespace, link: FakeLink): void {
  if (link.up) return;
  link.up = true;
  if (link.index === loopbackIndex) addAddress(namespace, link, loopback4, 8, true); // once: it stays when the link goes down
  startIpv6(namespace, link);
  if (link.peer !== undefined) startIpv6(link.peer.namespace, link.peer.link);
}

function setDown(namespace: FakeNamespace, link: FakeLink): void {
  if (!link.up) return;
  link.up = false;
  dropRoutesOf(namespace, link, "down");
  dropNeighboursOf(namespace, link, "all");
  dropIpv6(namespace, link);
}

/** IPv6 begins when a link is up and has a carrier for the first time: with a link-local address, unless none is wanted. */
export function startIpv6(namespace: FakeNamespace, link: FakeLink): void {
  if (link.ipv6Ready || !isRunning(link) || ipv6Disabled(link)) return;
  link.ipv6Ready = true;
  link.multicast = true;
  if (link.index === loopbackIndex) addAddress(namespace, link, loopback6, 128, true);
  else if (link.settings.get("ipv6/addr_gen_mode") !== "1")
    addAddress(namespace, link, linkLocalOf(link.mac), 64, true);
}

/** IPv6 on the link ends: addresses, routes and neighbours. */
export function dropIpv6(namespace: FakeNamespace, link: FakeLink): void {
  link.ipv6Ready = false;
  link.multicast = false;
  dropRoutesOf(namespace, link, "no IPv6");
  dropNeighboursOf(namespace, link, "IPv6");
  dropAddressesOf(namespace, link, "IPv6");
}

/** Removes a link that can be removed; of a veth both ends. */
export function removeLink(namespace: FakeNamespace, ref: LinkRef): Refusal {
  const link = findLink(namespace, ref);
  if (link === undefined) return refusal("ENODEV");
  if (link.kind === "") return refusal("EOPNOTSUPP");
  dropLink(namespace, link);
  return undefined;
}

/** Removes every link of the group, or none where one of them cannot be removed. */
export function removeGroup(namespace: FakeNamespace, group: number): Refusal {
  const links = [...namespace.links.values()].filter((link) => link.group === group);
  if (links.length === 0) return refusal("ENODEV");
  if (links.some(({ kind }) => kind === "")) return refusal("EOPNOTSUPP");
  for (const link of links) dropLink(namespace, link);
  return undefined;
}

/** The link ends, and the other end of a veth with it, wherever that is. */
export function dropLink(namespace: FakeNamespace, link: FakeLink): void {
  const { peer } = link;
  dropEnd(namespace, link);
  if (peer !== undefined) dropEnd(peer.namespace, peer.link);
}

function dropEnd(namespace: FakeNamespace, link: FakeLink): void {
  setDown(namespace, link);
  dropRoutesOf(namespace, link, "gone");
  dropNeighboursOf(namespace, link, "all");
  dropAddressesOf(namespace, link, "all");
  namespace.links.delete(link.index);
}

/** The link as it is read. */
export function linkOf(link: FakeLink): Link {
  const { index, name, kind, mac, mtu, up, group, alias, peer } = link;
  const values = { index, name, kind, mac, mtu, up, running: isRunning(link), group, alias };
  return peer === undefined ? values : { ...values, peerIndex: peer.link.index };
}
