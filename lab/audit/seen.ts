// What was seen in a namespace, as plain values, and how the output of `ip -N -d -j` is read into them.

import { z } from "zod";
import { Fault } from "../../src/base/fault.ts";
import { readJson } from "../json.ts";

export interface SeenLink {
  index: number;
  name: string;
  /** "veth", "bridge", …; "" for a loopback or hardware. */
  kind: string;
  mac: string;
  mtu: number;
  up: boolean;
  /** The other end of a veth is up as well. */
  running: boolean;
  group: number;
  alias: string;
  /** Of the other end, in the namespace of that end; absent where both ends are in one. */
  peerIndex?: number;
  addresses: SeenAddress[];
}

export interface SeenAddress {
  /** "10.4.1.7/32" */
  address: string;
  /** False while duplicate address detection runs or after it has failed. */
  usable: boolean;
}

export interface SeenRoute {
  /** "10.4.1.7/32"; default routes are "0.0.0.0/0" and "::/0". */
  to: string;
  via?: string;
  /** Absent for routes that lead nowhere. */
  link?: string;
  /** rtnetlink(7): 1 unicast, 2 local, 3 broadcast, 4 anycast, 5 multicast, 6 blackhole, 7 unreachable. */
  type: number;
  src?: string;
  scope: number;
  table: number;
  metric: number;
  /** 2 is the kernel, 142 is ours. */
  protocol: number;
}

export interface SeenNeighbour {
  address: string;
  link: string;
  mac: string;
  permanent: boolean;
}

export interface SeenRule {
  priority: number;
  /** The address or network that packets come from, "all" where it may be any. */
  src: string;
  table: string;
  protocol: number;
}

/** What the words `address show`, `route show table all` and `neighbour show` tell. */
export interface SeenNetwork {
  links: SeenLink[];
  routes: SeenRoute[];
  neighbours: SeenNeighbour[];
}

/** The lines of `ip -batch` that `readNetwork` reads the answers to. */
export const networkWords = ["address show", "route show table all", "neighbour show"] as const;

const linkSchema = z
  .object({
    ifindex: z.int(),
    ifname: z.string(),
    flags: z.array(z.string()),
    mtu: z.int(),
    group: z.coerce.number(),
    address: z.string().default(""),
    ifalias: z.string().default(""),
    link_index: z.int().optional(),
    linkinfo: z.object({ info_kind: z.string().default("") }).optional(),
    addr_info: z.array(
      z.object({
        local: z.string(),
        prefixlen: z.int(),
        tentative: z.boolean().default(false),
        dadfailed: z.boolean().default(false),
      }),
    ),
  })
  .transform((link): SeenLink => ({
    index: link.ifindex,
    name: link.ifname,
    kind: link.linkinfo?.info_kind ?? "",
    mac: link.address,
    mtu: link.mtu,
    up: link.flags.includes("UP"),
    running: link.flags.includes("LOWER_UP"),
    group: link.group,
    alias: link.ifalias,
    ...(link.link_index === undefined ? {} : { peerIndex: link.link_index }),
    addresses: link.addr_info.map(({ local, prefixlen, tentative, dadfailed }) => ({
      address: `${local}/${prefixlen}`,
      usable: !tentative && !dadfailed,
    })),
  }));

/** Routes of these types and above lead nowhere; the kernel names a link for IPv6 ones all the same. */
const blackhole = 6;

const routeSchema = z
  .object({
    type: z.coerce.number(),
    dst: z.string(),
    gateway: z.string().optional(),
    via: z.object({ host: z.string() }).optional(),
    dev: z.string().optional(),
    table: z.coerce.number(),
    protocol: z.coerce.number(),
    scope: z.coerce.number(),
    prefsrc: z.string().optional(),
    metric: z.int().default(0),
    /** IPv6 routes alone have one. */
    pref: z.string().optional(),
  })
  .transform((route): SeenRoute => {
    const via = route.gateway ?? route.via?.host;
    const v6 = route.pref !== undefined || route.dst.includes(":");
    return {
      to: networkText(route.dst, v6),
      ...(via === undefined ? {} : { via }),
      ...(route.dev === undefined || route.type >= blackhole ? {} : { link: route.dev }),
      type: route.type,
      ...(route.prefsrc === undefined ? {} : { src: route.prefsrc }),
      scope: route.scope,
      table: route.table,
      metric: route.metric,
      protocol: route.protocol,
    };
  });

function networkText(dst: string, v6: boolean): string {
  if (dst === "default") return v6 ? "::/0" : "0.0.0.0/0";
  return dst.includes("/") ? dst : `${dst}/${v6 ? 128 : 32}`;
}

const neighbourSchema = z
  .object({ dst: z.string(), dev: z.string(), lladdr: z.string().default(""), state: z.array(z.string()) })
  .transform(({ dst, dev, lladdr, state }): SeenNeighbour => ({
    address: dst,
    link: dev,
    mac: lladdr,
    permanent: state.includes("PERMANENT"),
  }));

const ruleSchema = z.object({
  priority: z.int(),
  /** The network or address that packets come from; absent for "all". */
  src: z.string().default("all"),
  table: z.string().default(""),
  // Absent where iproute2 leaves out that the kernel made it.
  protocol: z.coerce.number().default(2),
});

/** Reads the answers to `networkWords`, one line each. @throws Fault "lab-failed" where they are not of that form. */
export function readNetwork(text: string, where: string): SeenNetwork {
  const lines = text.trimEnd().split("\n");
  const [links = "", routes = "", neighbours = ""] = lines;
  if (lines.length !== networkWords.length) {
    throw new Fault("lab-failed", `ip -batch in ${where} gave ${lines.length} answers to ${networkWords.length} lines`);
  }
  return {
    links: readJson(z.array(linkSchema), links, `links in ${where}`),
    routes: readJson(z.array(routeSchema), routes, `routes in ${where}`),
    neighbours: readJson(z.array(neighbourSchema), neighbours, `neighbours in ${where}`),
  };
}

/** Reads what `rule show` tells of one family. */
export function readRules(text: string, where: string): SeenRule[] {
  return text.trim() === "" ? [] : readJson(z.array(ruleSchema), text, `rules in ${where}`);
}
