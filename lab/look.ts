// What the kernel shows in a namespace, asked with plain `ip` and `nft`: the lab's own eyes, independent of the product's.

import { z } from "zod";
import { type Ip, parseIp } from "../src/net/ip.ts";
import { execOk } from "./exec.ts";
import { readJson } from "./json.ts";
import type { Lab } from "./record.ts";

export interface SeenLink {
  name: string;
  /** True where the other end of a veth is in another namespace. */
  peerElsewhere: boolean;
}

const linksSchema = z.array(z.object({ ifname: z.string(), link_netnsid: z.int().optional() }));

export async function links(lab: Lab, netns: string): Promise<SeenLink[]> {
  const seen = await ipJson(lab, netns, ["link", "show"], linksSchema);
  return seen.map(({ ifname, link_netnsid: peer }) => ({ name: ifname, peerElsewhere: peer !== undefined }));
}

const addressesSchema = z.array(
  z.object({
    addr_info: z.array(
      z.object({
        local: z.string().optional(),
        scope: z.string().optional(),
        tentative: z.boolean().optional(),
        dadfailed: z.boolean().optional(),
      }),
    ),
  }),
);

/** Addresses of global scope on a link that can be used now. */
export async function globalAddresses(lab: Lab, netns: string, link: string): Promise<Ip[]> {
  const seen = await ipJson(lab, netns, ["address", "show", "dev", link], addressesSchema);
  const usable = seen
    .flatMap((entry) => entry.addr_info)
    .filter(({ scope, tentative, dadfailed }) => scope === "global" && tentative !== true && dadfailed !== true);
  return usable.flatMap(({ local = "" }) => parseIp(local) ?? []);
}

export interface SeenRoute {
  /** A network, an address, or "default", as `ip` writes it. */
  to: string;
  link: string;
}

const routesSchema = z.array(z.object({ dst: z.string(), dev: z.string().optional() }));

/** Routes of all tables and both families. */
export async function routes(lab: Lab, netns: string): Promise<SeenRoute[]> {
  const v4 = await ipJson(lab, netns, ["-4", "route", "show", "table", "all"], routesSchema);
  const v6 = await ipJson(lab, netns, ["-6", "route", "show", "table", "all"], routesSchema);
  return [...v4, ...v6].map(({ dst, dev = "" }) => ({ to: dst, link: dev }));
}

const neighboursSchema = z.array(z.object({ dst: z.string(), dev: z.string() }));

export async function neighbours(lab: Lab, netns: string): Promise<SeenRoute[]> {
  const seen = await ipJson(lab, netns, ["neighbour", "show"], neighboursSchema);
  return seen.map(({ dst, dev }) => ({ to: dst, link: dev }));
}

/** Every address that stands anywhere in the namespace's nftables rules, sets and maps. */
export async function nftAddresses(lab: Lab, netns: string): Promise<Ip[]> {
  const text = await execOk("nft", ["-j", "list", "ruleset"], { env: lab.env, netns });
  return strings(readJson(z.json(), text, `nft rules of ${netns}`)).flatMap((word) => parseIp(word) ?? []);
}

async function ipJson<S extends z.ZodType>(
  lab: Lab,
  netns: string,
  args: readonly string[],
  schema: S,
): Promise<z.output<S>> {
  const text = await execOk("ip", ["-n", netns, "-j", ...args], { env: lab.env });
  // Where there is nothing to show, some releases of `ip` print nothing at all.
  return readJson(schema, text.trim() === "" ? "[]" : text, `ip ${args.join(" ")} in ${netns}`);
}

function strings(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(strings) : [];
}
