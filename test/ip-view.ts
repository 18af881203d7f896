// A namespace as iproute2 sees it, in the words of the kernel contract: an independent reader for tests.

import { present } from "../src/base/assert.ts";
import type { Address, Link, Neighbour, Netns, Route, Rule } from "../src/kernel/contract.ts";
import { cidrOf, parseCidr } from "../src/net/cidr.ts";
import { parseIp } from "../src/net/ip.ts";
import { parseMac } from "../src/net/mac.ts";
import type { TestNetns } from "./netns.ts";

export interface View {
  links: Link[];
  addresses: Address[];
  routes: Route[];
  rules: Rule[];
  neighbours: Neighbour[];
}

type Json = Record<string, unknown>;

/** A member that is text or a number, as text; undefined where it is missing. */
function textOf(object: Json | undefined, key: string): string | undefined {
  const value = object?.[key];
  return typeof value === "string" || typeof value === "number" ? `${value}` : undefined;
}

/** What our own code sees, in a stable order. */
export async function ourView(netns: Netns): Promise<View> {
  return inOrder({
    links: await netns.links(),
    addresses: await netns.addresses(),
    routes: await netns.routes(),
    rules: await netns.rules(),
    neighbours: await netns.neighbours(),
  });
}

/** What `ip -j` sees, in the same order. */
export function ipView(netns: TestNetns): View {
  const ip = (...args: string[]): Json[] => {
    const text = netns.run("ip", "-N", "-d", "-j", ...args);
    return text.trim() === "" ? [] : (JSON.parse(text) as Json[]);
  };
  const links = ip("link");
  const indexes = new Map(links.map((link) => [textOf(link, "ifname") ?? "", Number(link["ifindex"])]));
  return inOrder({
    links: links.map((link) => linkOf(link, indexes)),
    addresses: ip("addr").flatMap((link) => (link["addr_info"] as Json[]).map((info) => addressOf(link, info))),
    routes: ([4, 6] as const).flatMap((family) =>
      ip(`-${family}`, "route", "show", "table", "all")
        .filter((route) => route["from"] === undefined && route["tos"] === undefined)
        .map((route) => routeOf(family, route, indexes)),
    ),
    rules: ([4, 6] as const).flatMap((family) =>
      ip(`-${family}`, "rule")
        .filter((rule) => rule["table"] !== undefined && !foreignSelectors.some((selector) => selector in rule))
        .map((rule) => ruleOf(family, rule)),
    ),
    neighbours: ip("neigh").map((entry) => neighbourOf(entry, indexes)),
  });
}

const foreignSelectors = ["iif", "oif", "not", "tos", "ipproto", "sport", "dport"];

function linkOf(link: Json, indexes: ReadonlyMap<string, number>): Link {
  const flags = link["flags"] as string[];
  const kind = textOf(link["linkinfo"] as Json | undefined, "info_kind") ?? "";
  const peer = link["link_index"] ?? indexes.get(textOf(link, "link") ?? "");
  return {
    index: Number(link["ifindex"]),
    name: textOf(link, "ifname") ?? "",
    kind,
    mac: present(parseMac(textOf(link, "address") ?? ""), "mac"),
    mtu: Number(link["mtu"]),
    up: flags.includes("UP"),
    running: flags.includes("LOWER_UP"),
    group: Number(link["group"]),
    alias: textOf(link, "ifalias") ?? "",
    ...(kind === "veth" && peer !== undefined ? { peerIndex: Number(peer) } : {}),
  };
}

const scopes: Readonly<Record<string, "global" | "site" | "link" | "host">> = {
  0: "global",
  200: "site",
  253: "link",
  254: "host",
};
const scopeOf = (object: Json) => scopes[textOf(object, "scope") ?? ""];

function addressOf(link: Json, info: Json): Address {
  return {
    link: Number(link["ifindex"]),
    address: ipOf(textOf(info, "local")),
    prefix: Number(info["prefixlen"]),
    scope: scopeOf(info) ?? "nowhere",
    tentative: info["tentative"] === true || info["dadfailed"] === true,
  };
}

const types = ["other", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable"] as const;

function routeOf(family: 4 | 6, route: Json, indexes: ReadonlyMap<string, number>): Route {
  const hop = (route["nexthops"] as Json[] | undefined)?.[0] ?? route;
  const type = types[Number(route["type"])] ?? "other";
  const via = textOf(hop, "gateway") ?? textOf(hop["via"] as Json | undefined, "host");
  const dev = textOf(hop, "dev");
  const metric = Number(route["metric"] ?? 0);
  const mtu = (route["metrics"] as Json[] | undefined)?.[0]?.["mtu"];
  const scope = scopeOf(route);
  const leadsNowhere = Number(route["type"]) >= types.indexOf("blackhole");
  return {
    to: networkOf(family, textOf(route, "dst") ?? ""),
    ...(dev === undefined || leadsNowhere ? {} : { link: present(indexes.get(dev), "link") }),
    ...(metric === (family === 4 ? 0 : 1024) ? {} : { metric }),
    ...(route["table"] === "254" ? {} : { table: Number(route["table"]) }),
    ...(via === undefined ? {} : { via: ipOf(via) }),
    ...(route["prefsrc"] === undefined ? {} : { src: ipOf(textOf(route, "prefsrc")) }),
    ...(scope === "link" || scope === "host" ? { scope } : {}),
    ...(type === "unicast" ? {} : { type }),
    protocol: Number(route["protocol"]),
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
  };
}

function ruleOf(family: 4 | 6, rule: Json): Rule {
  const selector = (key: "src" | "dst"): Pick<Rule, "from" | "to"> => {
    const address = textOf(rule, key);
    if (address === undefined || address === "all") return {};
    const cidr = cidrOf(ipOf(address), Number(rule[`${key}len`] ?? (family === 4 ? 32 : 128)));
    return key === "src" ? { from: cidr } : { to: cidr };
  };
  return {
    family,
    priority: Number(rule["priority"]),
    table: Number(rule["table"]),
    ...selector("src"),
    ...selector("dst"),
    ...(rule["fwmark"] === undefined ? {} : { mark: Number(rule["fwmark"]) }),
    ...(rule["fwmask"] === undefined ? {} : { mask: Number(rule["fwmask"]) }),
    protocol: Number(rule["protocol"]),
  };
}

function neighbourOf(entry: Json, indexes: ReadonlyMap<string, number>): Neighbour {
  const mac = textOf(entry, "lladdr");
  return {
    link: present(indexes.get(textOf(entry, "dev") ?? ""), "link"),
    address: ipOf(textOf(entry, "dst")),
    ...(mac === undefined ? {} : { mac: present(parseMac(mac), "mac") }),
    permanent: (entry["state"] as string[]).includes("PERMANENT"),
  };
}

function ipOf(text: string | undefined) {
  return present(parseIp(text ?? ""), `address ${text}`);
}

function networkOf(family: 4 | 6, text: string) {
  const whole = text === "default" ? (family === 4 ? "0.0.0.0/0" : "::/0") : text;
  const full = whole.includes("/") ? whole : `${whole}/${family === 4 ? 32 : 128}`;
  return present(parseCidr(full), `network ${full}`);
}

function inOrder(view: View): View {
  const sorted = <T extends object>(list: readonly T[]): T[] =>
    list
      .map((value) => [JSON.stringify(value, Object.keys(value).sort()), value] as const)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, value]) => value);
  return {
    links: sorted(view.links),
    addresses: sorted(view.addresses),
    routes: sorted(view.routes),
    rules: sorted(view.rules),
    neighbours: sorted(view.neighbours),
  };
}
