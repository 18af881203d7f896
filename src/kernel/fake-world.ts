// The fake kernel's memory: namespaces and what is in them, how they begin, and how they end.

import { constants as osConstants } from "node:os";
import { present } from "../base/assert.ts";
import { type Mac, parseMac } from "../net/mac.ts";
import type { Address, LinkRef, Neighbour, Route, Rule } from "./contract.ts";
import type { Verdict } from "./netlink/message.ts";

export interface FakeLink {
  index: number;
  name: string;
  kind: "" | "veth";
  mac: Mac;
  mtu: number;
  up: boolean;
  group: number;
  alias: string;
  /** The other end of a veth. */
  peer?: { namespace: FakeNamespace; link: FakeLink };
  /** IPv6 runs on it: since it was up with a carrier, until it goes down. */
  ipv6Ready: boolean;
  /** It has the route for multicast: since IPv6 runs on it, or it was given an IPv6 address while up. */
  multicast: boolean;
  /** Its own values under ipv4/conf and ipv6/conf where they differ from the defaults, such as "ipv6/disable_ipv6". */
  settings: Map<string, string>;
  /** eBPF programs that are attached to it by tcx. */
  tcxPrograms: number;
  /** It has had an IPv4 address: from then on it keeps its settings when "default" changes. */
  settled: boolean;
}

export interface FakeAddress extends Address {
  /** The kernel gave it by itself, with its routes. */
  own: boolean;
}

/** A rule with what the kernel makes of an absent mark or mask. */
export type FakeRule = Rule & { mark: number; mask: number };

export interface FakeNamespace {
  id: string;
  /** Paths and handles; with the last one it ends. */
  holders: number;
  lastIndex: number;
  /** In the order of their indexes. */
  links: Map<number, FakeLink>;
  addresses: FakeAddress[];
  /** What was asked for; the kernel's own routes follow from links and addresses. In the form in which they are read. */
  routes: Route[];
  /** In the order in which they are tried. */
  rules: FakeRule[];
  neighbours: Neighbour[];
  /** Values that were written, by key; those of single links are with the links. */
  settings: Map<string, string>;
}

/** Why the kernel would refuse; undefined where it would not. */
export type Refusal = Verdict | undefined;

/** The namespaces' file system has device 4 on common kernels; inodes are counted as the kernel does. */
const namespaceDevice = 4;
const firstInode = 4_026_532_000;

export const loopbackIndex = 1;
const noMac = present(parseMac("00:00:00:00:00:00"), "the loopback's hardware address");

/** The least MTU of a link that can have IPv6 (RFC 8200). */
const ipv6MtuMin = 1280;

/** The kernel's own rules: which tables are asked, in this order. */
const byKernel = { mark: 0, mask: 0, protocol: 2 };
const initialRules: readonly FakeRule[] = [
  { family: 4, priority: 0, table: 255, ...byKernel },
  { family: 4, priority: 32766, table: 254, ...byKernel },
  { family: 4, priority: 32767, table: 253, ...byKernel },
  { family: 6, priority: 0, table: 255, ...byKernel },
  { family: 6, priority: 32766, table: 254, ...byKernel },
];

/** Gives what makes namespaces, each with an id of its own. */
export function createNamespaces(): () => FakeNamespace {
  let inode = firstInode;
  return () => {
    inode += 1;
    const namespace: FakeNamespace = {
      id: `${namespaceDevice}:${inode}`,
      holders: 0,
      lastIndex: 0,
      links: new Map(),
      addresses: [],
      routes: [],
      rules: structuredClone([...initialRules]),
      neighbours: [],
      settings: new Map(),
    };
    addLink(namespace, { name: "lo", kind: "", mac: noMac, mtu: 65536, group: 0 });
    return namespace;
  };
}

/** Makes a link that is down. */
export function addLink(
  namespace: FakeNamespace,
  values: Pick<FakeLink, "name" | "kind" | "mac" | "mtu" | "group">,
  chosenIndex?: number,
): FakeLink {
  // A chosen index does not move the kernel's own count.
  if (chosenIndex === undefined) namespace.lastIndex += 1;
  const settings = new Map<string, string>();
  inheritSettings(namespace, settings, "ipv4");
  inheritSettings(namespace, settings, "ipv6");
  const link = {
    ...values,
    index: chosenIndex ?? namespace.lastIndex,
    up: false,
    alias: "",
    ipv6Ready: false,
    multicast: false,
    settings,
    tcxPrograms: 0,
    settled: false,
  };
  namespace.links.set(link.index, link);
  return link;
}

/**
 * Copies what was written to the namespace's "default" settings of a family, as a link takes it over for good: when it is made,
 * and for IPv4 again with its first address. What it has not taken over by then, it has from "default".
 */
export function inheritSettings(
  namespace: FakeNamespace,
  settings: Map<string, string>,
  family: "ipv4" | "ipv6",
): void {
  for (const [key, value] of namespace.settings) {
    const [, of, name] = /^(ipv[46])\/conf\/default\/(\w+)$/.exec(key) ?? [];
    if (of === family && !settings.has(`${family}/${name}`)) settings.set(`${family}/${name}`, value);
  }
}

export function findLink({ links }: FakeNamespace, ref: LinkRef): FakeLink | undefined {
  return typeof ref === "number" ? links.get(ref) : links.values().find(({ name }) => name === ref);
}

/** Carrier: for a veth, both ends are up. */
export function isRunning({ up, kind, peer }: FakeLink): boolean {
  return up && (kind === "" || peer?.link.up === true);
}

/** The kernel keeps IPv6 state for the link. */
export function hasIpv6({ mtu }: FakeLink): boolean {
  return mtu >= ipv6MtuMin;
}

export function ipv6Disabled(link: FakeLink): boolean {
  return !hasIpv6(link) || link.settings.get("ipv6/disable_ipv6") === "1";
}

/** A refusal by the name of its errno, with the kernel's words where it has some. */
export function refusal(errno: keyof typeof osConstants.errno, text = ""): Verdict {
  return { errno: osConstants.errno[errno], text };
}
