// The fake kernel's settings under /proc/sys/net: which there are, what they begin with, and what writing them does.

import { Fault } from "../base/fault.ts";
import { dropIpv6, startIpv6 } from "./fake-links.ts";
import { type FakeLink, type FakeNamespace, findLink, hasIpv6, ipv6Disabled } from "./fake-world.ts";
import { addonFault } from "./netlink/message.ts";
import { sysctlsMax } from "./sysctl.ts";

/** Settings that each link has, and "all" and "default" too, with their value in a new namespace. */
const linkSettings: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  ipv4: {
    accept_local: "0",
    accept_redirects: "1",
    arp_announce: "0",
    arp_ignore: "0",
    forwarding: "0",
    promote_secondaries: "0",
    proxy_arp: "0",
    route_localnet: "0",
    rp_filter: "0",
    send_redirects: "1",
    src_valid_mark: "0",
  },
  ipv6: {
    accept_ra: "1",
    accept_redirects: "1",
    addr_gen_mode: "0",
    autoconf: "1",
    dad_transmits: "1",
    disable_ipv6: "0",
    forwarding: "0",
    keep_addr_on_down: "0",
    proxy_ndp: "0",
  },
};

/** Settings of the namespace itself. */
const plainSettings: Readonly<Record<string, string>> = {
  "ipv4/fwmark_reflect": "0",
  "ipv4/ip_unprivileged_port_start": "1024",
  "core/somaxconn": "4096",
  "netfilter/nf_conntrack_tcp_be_liberal": "0",
  "netfilter/nf_conntrack_tcp_timeout_close_wait": "60",
};

/** One name for what has two. */
const aliases: Readonly<Record<string, string>> = { "ipv4/ip_forward": "ipv4/conf/all/forwarding" };

/** Where a setting is kept. */
interface Place {
  map: Map<string, string>;
  key: string;
  initial: string;
  /** Of a setting that links have. */
  conf?: { family: string; scope: "all" | "default" | FakeLink; name: string };
}

/** Gives the values; undefined where there is no such setting. */
export function readSettings(namespace: FakeNamespace, keys: readonly string[]): (string | undefined)[] {
  checkCount(keys.length);
  return keys.map((key) => {
    if (!isInside(key)) throw addonFault(`sysctls ${keys.join(", ")}`, errnoError("EINVAL"));
    const place = findPlace(namespace, key);
    return place === undefined ? undefined : (place.map.get(place.key) ?? place.initial);
  });
}

/** Writes one value. @throws Fault "kernel-missing" where there is no such setting, "kernel-refused" for what is no number. */
export function writeSetting(namespace: FakeNamespace, key: string, value: string): void {
  const refuse = (errno: string): Fault =>
    addonFault(`sysctl net/${key} = ${JSON.stringify(value)}`, errnoError(errno));
  if (!isInside(key)) throw refuse("EINVAL");
  const place = findPlace(namespace, key);
  if (place === undefined) throw refuse("ENOENT");
  if (!/^-?\d{1,9}\s*$/.test(value)) throw refuse("EINVAL");
  const plain = String(Number(value));
  const { map, conf } = place;
  if (conf !== undefined && typeof conf.scope !== "string") {
    setOnLink(namespace, conf.scope, conf.family, conf.name, plain);
    return;
  }
  const changed = (map.get(place.key) ?? place.initial) !== plain;
  map.set(place.key, plain);
  // IPv6 spreads a value though it is the old one: links may have got others meanwhile.
  if (conf?.scope === "all" && (changed || conf.family === "ipv6")) spread(namespace, conf.family, conf.name, plain);
}

/** As src/kernel/sysctl.ts does. */
export function checkCount(count: number): void {
  if (count > sysctlsMax) throw new Fault("kernel-refused", `${count} sysctls in one call; at most ${sysctlsMax}`);
}

/** As the addon does: a key is a path below /proc/sys/net. */
function isInside(key: string): boolean {
  return key !== "" && !key.startsWith("/") && !key.split("/").includes("..");
}

function findPlace(namespace: FakeNamespace, key: string): Place | undefined {
  const known = aliases[key] ?? key;
  const plain = plainSettings[known];
  if (plain !== undefined) return { map: namespace.settings, key: known, initial: plain };
  const [, family = "", scope = "", name = ""] = /^(\w+)\/conf\/([^/]+)\/(\w+)$/.exec(known) ?? [];
  const initial = linkSettings[family]?.[name];
  if (initial === undefined) return undefined;
  if (scope === "all" || scope === "default") {
    return { map: namespace.settings, key: known, initial, conf: { family, scope, name } };
  }
  const link = findLink(namespace, scope);
  if (link === undefined || (family === "ipv6" && !hasIpv6(link))) return undefined;
  // What a link has not taken over for good, it has from "default".
  const inherits = family === "ipv4" && name !== "forwarding" && !link.settled;
  const inherited = inherits ? namespace.settings.get(`${family}/conf/default/${name}`) : undefined;
  return {
    map: link.settings,
    key: `${family}/${name}`,
    initial: inherited ?? initial,
    conf: { family, scope: link, name },
  };
}

/** What "all" of some settings means beyond its own value: it is written to every link and to "default". */
function spread(namespace: FakeNamespace, family: string, name: string, value: string): void {
  if (name !== "forwarding" && name !== "disable_ipv6") return;
  namespace.settings.set(`${family}/conf/default/${name}`, value);
  for (const link of namespace.links.values()) setOnLink(namespace, link, family, name, value);
  if (family === "ipv4") namespace.settings.set("ipv4/conf/all/accept_redirects", value === "0" ? "1" : "0");
}

function setOnLink(namespace: FakeNamespace, link: FakeLink, family: string, name: string, value: string): void {
  if (family === "ipv6" && !hasIpv6(link)) return;
  const wasDisabled = ipv6Disabled(link);
  link.settings.set(`${family}/${name}`, value);
  if (ipv6Disabled(link) && !wasDisabled) dropIpv6(namespace, link);
  if (!ipv6Disabled(link) && wasDisabled) startIpv6(namespace, link);
}

function errnoError(code: string): Error {
  return Object.assign(new Error("sysctl"), { code });
}
