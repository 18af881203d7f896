// A living attachment as the audit knows it, whoever tells of it: the runtime's result of ADD, the agent, or its state file.

import { z } from "zod";
import { type Cidr, parseCidr, parseInterfaceAddress } from "../../src/net/cidr.ts";
import { type Ip, parseIp } from "../../src/net/ip.ts";
import { type Mac, parseMac } from "../../src/net/mac.ts";
import { readJson } from "../json.ts";

/** One end of a pod's link. */
export interface End {
  name: string;
  mac: Mac;
  /** Known where the agent tells; a result of ADD has no indexes. */
  index?: number;
}

export interface LivingLink {
  /** Where the pod's namespace is found. */
  netnsPath: string;
  host: End;
  pod: End;
  /** Results of CNI 1.0.0 and older do not tell. */
  mtu?: number;
  /** Said of each address by the IPAM plugin that chose it; absent where Fairlead did: single addresses, its own next hops. */
  subnets?: readonly { prefix: number; gateway?: Ip }[];
  /** Further destinations by way of the next hop. */
  routes?: readonly Cidr[];
}

/** What must be there for one attachment. */
export interface Living {
  /** "network/container/interface", as the alias of its host link has it. */
  name: string;
  addresses: readonly Ip[];
  /** "none": a lease alone, the addresses are for an interface that is not ours. "untold": this source does not know. */
  link: LivingLink | "none" | "untold";
  /** Another plugin chose the addresses: they are none of the pool's. */
  delegated?: true;
}

/** What names an attachment for a runtime. */
export interface LivingId {
  network: string;
  containerId: string;
  ifname: string;
}

/** The one text for an attachment; its parts hold no "/". */
export function livingName({ network, containerId, ifname }: LivingId): string {
  return `${network}/${containerId}/${ifname}`;
}

const interfaceIp = z.string().transform((text, context): Ip => {
  const parsed = parseInterfaceAddress(text);
  if (parsed !== undefined) return parsed.address;
  context.addIssue(`"${text}" is no address with a prefix`);
  return z.NEVER;
});

const ip = z.string().transform((text, context): Ip => {
  const parsed = parseIp(text);
  if (parsed !== undefined) return parsed;
  context.addIssue(`"${text}" is no address`);
  return z.NEVER;
});

const mac = z.string().transform((text, context): Mac => {
  const parsed = parseMac(text);
  if (parsed !== undefined) return parsed;
  context.addIssue(`"${text}" is no hardware address`);
  return z.NEVER;
});

/** CNI specification 1.1, section 5; before 0.3.0 there were `ip4` and `ip6` and no interfaces. */
const resultSchema = z.object({
  ips: z.array(z.object({ address: interfaceIp })).optional(),
  ip4: z.object({ ip: interfaceIp }).optional(),
  ip6: z.object({ ip: interfaceIp }).optional(),
  interfaces: z
    .array(
      z.object({
        name: z.string(),
        mac: mac.optional(),
        mtu: z.int().optional(),
        sandbox: z.string().default(""),
      }),
    )
    .optional(),
});

/**
 * What a runtime knows of an attachment: the result that ADD printed.
 * @throws Fault "lab-failed" where that is no result.
 */
export function livingOfResult(id: LivingId, text: string): Living {
  const { ips = [], ip4, ip6, interfaces } = readJson(resultSchema, text, `the result of ADD of ${livingName(id)}`);
  const addresses = [...ips.map(({ address }) => address), ...[ip4, ip6].flatMap((one) => one?.ip ?? [])];
  const living = { name: livingName(id), addresses };
  if (interfaces === undefined) return { ...living, link: "untold" };
  const host = interfaces.find(({ name, sandbox }) => sandbox === "" && name.startsWith("fl"));
  const pod = interfaces.find(({ name, sandbox }) => sandbox !== "" && name === id.ifname);
  if (host?.mac === undefined || pod?.mac === undefined) return { ...living, link: "none" };
  return {
    ...living,
    link: {
      netnsPath: pod.sandbox,
      host: { name: host.name, mac: host.mac },
      pod: { name: pod.name, mac: pod.mac },
      ...(pod.mtu === undefined ? {} : { mtu: pod.mtu }),
    },
  };
}

const cidr = z.string().transform((text, context): Cidr => {
  const parsed = parseCidr(text);
  if (parsed !== undefined) return parsed;
  context.addIssue(`"${text}" is no network`);
  return z.NEVER;
});

/** An attachment as agent and state file write it. Without a wire it is a lease alone. */
export const recordSchema = z.object({
  network: z.string(),
  containerId: z.string(),
  ifname: z.string(),
  addresses: z.array(ip),
  netnsPath: z.string(),
  wire: z
    .object({
      hostLink: z.string(),
      hostIndex: z.int(),
      podIndex: z.int(),
      hostMac: mac,
      podMac: mac,
      mtu: z.int(),
      subnets: z.array(z.object({ prefix: z.int(), gateway: ip.exactOptional() })).exactOptional(),
      routes: z.array(cidr).exactOptional(),
    })
    .optional(),
  delegate: z.looseObject({}).optional(),
});

/** What must be there for an attachment of that record. */
export function livingOfRecord(record: z.output<typeof recordSchema>): Living {
  const { wire, netnsPath, addresses, ifname, delegate } = record;
  const living: Living = {
    name: livingName(record),
    addresses,
    link: "none",
    ...(delegate === undefined ? {} : { delegated: true }),
  };
  if (wire === undefined) return living;
  const { hostLink, hostMac, hostIndex, podMac, podIndex, mtu, subnets, routes } = wire;
  return {
    ...living,
    link: {
      netnsPath,
      host: { name: hostLink, mac: hostMac, index: hostIndex },
      pod: { name: ifname, mac: podMac, index: podIndex },
      mtu,
      ...(subnets === undefined ? {} : { subnets }),
      ...(routes === undefined ? {} : { routes }),
    },
  };
}
