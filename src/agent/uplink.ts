// The node's own addresses and MTU: read from the link that leads out.

import { isDeepStrictEqual } from "node:util";
import { Fault } from "../base/fault.ts";
import { type Cidr, cidrContains, cidrFamily, cidrOf, cidrPrefix } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import { ipFamily } from "../net/ip.ts";
import type { Address, Kernel, Link, Route } from "../kernel/contract.ts";
import type { AgentConfig } from "./config.ts";

export interface Uplink {
  link: Link;
  /** The node's address of each family that it has: the source of node-to-pod traffic. */
  addresses: { 4?: Ip; 6?: Ip };
  /** Networks whose addresses are reached on this link without a router. */
  subnets: readonly Cidr[];
  /** MTU for pods. */
  mtu: number;
}

export interface UplinkOptions {
  /** What the node owns at present. */
  blocks: () => readonly Cidr[];
  /** Next hops of configured routes, tried where there is no default route. */
  vias: readonly Ip[];
  mtu: "auto" | number;
}

/** As the configuration says; `blocks` is asked anew each time. */
export function uplinkOptions(
  { routes, mtu }: Pick<AgentConfig, "routes" | "mtu">,
  blocks: UplinkOptions["blocks"],
): UplinkOptions {
  return { blocks, vias: routes.map(({ via }) => via), mtu };
}

/**
 * Finds the uplink: the link of the default route, else the one that reaches the first next hop, else the first link
 * that is up and has a global address.
 * @throws Fault "machine-unfit" where there is none, or where it lacks an address of a family that the blocks serve.
 */
export async function findUplink(kernel: Kernel, options: UplinkOptions): Promise<Uplink> {
  const [links, addresses, routes] = await Promise.all([
    kernel.node.links(),
    kernel.node.addresses(),
    kernel.node.routes(),
  ]);
  return chooseUplink({ links, addresses, routes }, options);
}

/** The pure part of `findUplink`. */
export function chooseUplink(
  seen: { links: readonly Link[]; addresses: readonly Address[]; routes: readonly Route[] },
  { blocks, vias, mtu }: UplinkOptions,
): Uplink {
  const index = byDefaultRoute(seen.routes) ?? byNextHop(seen.addresses, vias) ?? byAddress(seen.links, seen.addresses);
  const link = seen.links.find((candidate) => candidate.index === index);
  if (link === undefined) {
    throw new Fault(
      "machine-unfit",
      "no uplink found: this node has no default route and no link with a global address",
    );
  }
  const own: Uplink["addresses"] = {};
  const global = seen.addresses.filter(({ link: on, scope }) => on === link.index && scope === "global");
  for (const { address } of global) own[ipFamily(address)] ??= address;
  for (const family of [4, 6] as const) {
    if (own[family] === undefined && blocks().some((block) => cidrFamily(block) === family)) {
      const why =
        family === 6
          ? "IPv6 pods need it: errors such as packet-too-big must come from an address that the sender can reach"
          : "node-to-pod traffic needs it as its source";
      throw new Fault(
        "machine-unfit",
        `uplink ${link.name} has no global IPv${family} address; ${why}. Add one, or remove the IPv${family} blocks`,
      );
    }
  }
  const subnets = [...new Set(global.map(({ address, prefix }) => cidrOf(address, prefix)))];
  return { link, addresses: own, subnets, mtu: mtu === "auto" ? link.mtu : mtu };
}

function byDefaultRoute(routes: readonly Route[]): number | undefined {
  const defaults = routes.filter(
    (route) => cidrPrefix(route.to) === 0 && route.link !== undefined && (route.type ?? "unicast") === "unicast",
  );
  const best = defaults.toSorted((a, b) => cidrFamily(a.to) - cidrFamily(b.to) || (a.metric ?? 0) - (b.metric ?? 0));
  return best[0]?.link;
}

function byNextHop(addresses: readonly Address[], vias: readonly Ip[]): number | undefined {
  for (const via of vias) {
    const near = addresses.find(
      ({ address, prefix }) => ipFamily(address) === ipFamily(via) && cidrContains(cidrOf(address, prefix), via),
    );
    if (near !== undefined) return near.link;
  }
  return undefined;
}

function byAddress(links: readonly Link[], addresses: readonly Address[]): number | undefined {
  return links.find(
    (link) => link.up && addresses.some((address) => address.link === link.index && address.scope === "global"),
  )?.index;
}

export interface KeptUplink {
  /** The uplink as it was seen last. */
  current: () => Uplink;
  /** Looks again. @throws as `findUplink`; the last one stays then. */
  refresh: () => Promise<void>;
}

/** Remembers the uplink; `onChange` hears of another link, address or MTU. */
export async function keepUplink(
  kernel: Kernel,
  options: UplinkOptions,
  onChange: (uplink: Uplink) => void,
): Promise<KeptUplink> {
  let uplink = await findUplink(kernel, options);
  return {
    current: () => uplink,
    refresh: async () => {
      const seen = await findUplink(kernel, options);
      if (isDeepStrictEqual(essence(seen), essence(uplink))) return;
      uplink = seen;
      onChange(seen);
    },
  };
}

function essence({ link, addresses, subnets, mtu }: Uplink): unknown {
  return { index: link.index, name: link.name, addresses, subnets, mtu };
}
