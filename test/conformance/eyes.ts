// The kernel as iproute2 and nft show it: none of our own code looks here, so that a mistake cannot hide itself.

import assert from "node:assert/strict";
import { present } from "../../src/base/assert.ts";
import type { TestNetns } from "../netns.ts";
import { until } from "../until.ts";
import type { TestNode } from "./node.ts";
import type { Result } from "./runtime.ts";

export interface SeenLink {
  ifindex: number;
  ifname: string;
  address: string;
  mtu: number;
  flags: string[];
  /** Index of a veth's other end, in the namespace of that end. */
  link_index?: number;
}

function json<T>(ns: TestNetns, ...args: string[]): T[] {
  const text = ns.run("ip", "-j", ...args).trim();
  return text === "" ? [] : (JSON.parse(text) as T[]);
}

/** Every link of a namespace. */
export const linksIn = (ns: TestNetns): SeenLink[] => json<SeenLink>(ns, "link");

/** A link that must be there. */
export function linkIn(ns: TestNetns, ifname: string): SeenLink {
  const found = linksIn(ns).find((link) => link.ifname === ifname);
  return present(found, `link ${ifname} in ${ns.name}`);
}

export const hasLink = (ns: TestNetns, ifname: string): boolean => linksIn(ns).some((link) => link.ifname === ifname);

interface SeenAddress {
  local: string;
  prefixlen: number;
  scope: string;
  tentative?: boolean;
}

/** Addresses of a link. */
export const addressesIn = (ns: TestNetns, ifname: string): SeenAddress[] =>
  json<{ addr_info: SeenAddress[] }>(ns, "address", "show", "dev", ifname).flatMap(({ addr_info }) => addr_info);

/** Addresses of a link that are good for more than the link itself, as "10.4.1.1/32". */
export const globalAddressesIn = (ns: TestNetns, ifname: string): string[] =>
  addressesIn(ns, ifname)
    .filter(({ scope }) => scope === "global")
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);

export interface SeenRoute {
  dst: string;
  gateway?: string;
  dev?: string;
  metrics?: { mtu?: number }[];
}

/** Routes of the main table, the default route as 0.0.0.0/0 or ::/0 and single addresses with their prefix length. */
export function routesIn(ns: TestNetns, family: 4 | 6): SeenRoute[] {
  const whole = family === 4 ? "0.0.0.0/0" : "::/0";
  const named = (dst: string): string => {
    if (dst === "default") return whole;
    return dst.includes("/") ? dst : `${dst}/${family === 4 ? 32 : 128}`;
  };
  return json<SeenRoute>(ns, `-${family}`, "route").map((route) => ({ ...route, dst: named(route.dst) }));
}

/** Everything a plugin could have changed on a node, as text to compare; what the kernel changes by itself is left out. */
export function stateOf(ns: TestNetns): string[] {
  const links = linksIn(ns).map(
    ({ ifindex, ifname, address, mtu, flags }) => `link ${ifindex} ${ifname} ${address} ${mtu} ${flags.join(",")}`,
  );
  const addresses = linksIn(ns).flatMap(({ ifname }) =>
    addressesIn(ns, ifname).map(({ local, prefixlen }) => `address ${ifname} ${local}/${prefixlen}`),
  );
  const routes = (["-4", "-6"] as const).flatMap((family) =>
    lines(ns.run("ip", family, "route", "show", "table", "all")).sort(),
  );
  const rules = (["-4", "-6"] as const).flatMap((family) => lines(ns.run("ip", family, "rule")));
  const filters = lines(ns.run("nft", "-s", "list", "ruleset"));
  // Addresses for the link alone come and go by the kernel's own clock.
  return [...links, ...addresses, ...routes, ...rules, ...filters].filter((line) => !/\b(?:fe80|ff00)::/.test(line));
}

const lines = (text: string): string[] => text.split("\n").flatMap((line) => (line.trim() === "" ? [] : [line.trim()]));

/** Links, routes and filter entries of pods on a node: empty where there is no pod. */
export function podTraces(ns: TestNetns): string[] {
  const links = linksIn(ns).map(({ ifname }) => ifname);
  const routes = ([4, 6] as const).flatMap((family) => routesIn(ns, family));
  const guard = ns.run("nft", "-j", "list", "ruleset");
  return [
    ...links.filter((name) => name.startsWith("fl")).map((name) => `link ${name}`),
    ...routes.filter(({ dev = "" }) => dev.startsWith("fl")).map(({ dst, dev }) => `route ${dst} on ${dev}`),
    ...[...guard.matchAll(/"concat": \["(fl[^"]+)", "([^"]+)"\]/g)].map(
      ([, link, address]) => `${address} for ${link}`,
    ),
  ];
}

/** Waits until no trace of a pod is left on the node: removal may go on after DEL has answered. */
export async function bare({ ns }: Pick<TestNode, "ns">): Promise<void> {
  let traces: string[] = [];
  try {
    await until("the node has no trace of a pod", () => (traces = podTraces(ns)).length === 0);
  } catch (cause) {
    assert.deepEqual(traces, [], String(cause));
  }
}

/** Waits until nothing of one attachment is left on the node, whatever else is there. */
export async function gone({ ns }: Pick<TestNode, "ns">, result: Pick<Result, "interfaces" | "ips">): Promise<void> {
  const names = [...hostEnds(result), ...addressesOf(result)];
  await until(`${names.join(", ")} are gone`, () => {
    const traces = podTraces(ns);
    return !names.some((name) => traces.some((trace) => trace.split(/[ /]/).includes(name)));
  });
}

/** Names of the result's interfaces on the node. */
export const hostEnds = ({ interfaces }: Pick<Result, "interfaces">): string[] =>
  interfaces.filter(({ sandbox = "" }) => sandbox === "").map(({ name }) => name);

/** The one interface of ours on the node. */
export const hostEnd = (result: Pick<Result, "interfaces">): string => present(hostEnds(result)[0], "host interface");

/** The result's addresses without their prefix lengths, IPv4 first. */
export const addressesOf = ({ ips }: Pick<Result, "ips">): string[] =>
  ips
    .map(({ address }) => address.replace(/\/.*/, ""))
    .sort((a, b) => Number(a.includes(":")) - Number(b.includes(":")));

export function v4Of(result: Pick<Result, "ips">): string {
  return present(
    addressesOf(result).find((address) => !address.includes(":")),
    "IPv4 address",
  );
}

export function v6Of(result: Pick<Result, "ips">): string {
  return present(
    addressesOf(result).find((address) => address.includes(":")),
    "IPv6 address",
  );
}

/** The node's own addresses, as test/agent.ts gives them. */
export const nodeAddresses = ["172.30.0.11", "fd00:30::11"] as const;

/** True where an echo comes back to `ns`; `from` is the source address. A lost first packet is forgiven: 5.21 is the test that is not so kind. */
export function pings(ns: TestNetns, target: string, from?: string): boolean {
  const source = from === undefined ? [] : ["-I", from];
  return [["-c1"], ["-c2", "-i0.2"]].some((count) => {
    try {
      ns.run("ping", ...count, "-W5", ...source, target);
      return true;
    } catch {
      return false;
    }
  });
}

/** The pod reaches its node and is reached from it, over each of its addresses. */
export function reachable({ ns: node }: Pick<TestNode, "ns">, pod: TestNetns, result: Pick<Result, "ips">): void {
  for (const address of addressesOf(result)) {
    const own = address.includes(":") ? nodeAddresses[1] : nodeAddresses[0];
    assert.ok(pings(node, address), `the node reaches ${address}`);
    assert.ok(pings(pod, own, address), `the pod reaches ${own} from ${address}`);
  }
}
