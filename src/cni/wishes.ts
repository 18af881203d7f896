// What a request asks for beyond "an address": the capability arguments that Fairlead knows, and those it refuses.

import { Fault } from "../base/fault.ts";
import { addressAt, cidrContains, cidrSize, parseCidr, parseInterfaceAddress } from "../net/cidr.ts";
import { type Ip, ipFamily, ipToNumber, parseIp } from "../net/ip.ts";
import { isUnicastMac, type Mac, parseMac } from "../net/mac.ts";
import { isJsonObject, nameOf, own } from "./json.ts";
import { parseDns } from "./prev-result.ts";
import type { AddressRange, CniArgs, JsonObject, NetConfig, ResultDns, Wishes } from "./types.ts";

/** Most ranges in `ipRanges`. */
export const rangesMax = 64;

/**
 * Reads the arguments under `runtimeConfig` (CNI conventions, "Dynamic Plugin specific fields"), and `args.cni.ips`, the older
 * place. Refuses IP and MAC in CNI_ARGS: they ask for something particular, which passing them over would not give. Left to other
 * plugins: portMappings, bandwidth. Without a meaning for a routed veth, and passed over: aliases, cgroupPath, infinibandGUID.
 * `chooses`: false where another IPAM plugin chooses the addresses and reads these itself.
 * @throws Fault "unsupported-value" with key and value for what cannot be honoured
 */
export function parseWishes(
  { runtimeConfig = {}, args = {}, raw }: NetConfig,
  cniArgs: Pick<CniArgs, "IP" | "MAC">,
  { chooses }: { chooses: boolean },
): Wishes {
  const device = own(runtimeConfig, "deviceID") ?? "";
  if (device !== "")
    throw unsupported("runtimeConfig.deviceID", device, "a veth pair has no device of the node's in it");
  refuseArgs(cniArgs, args, chooses);
  const mac = parseWishedMac(own(runtimeConfig, "mac") ?? "");
  const dns = runtimeDns(own(runtimeConfig, "dns")) ?? parseDns(own(raw, "dns"), "dns");
  return {
    ...(chooses ? wishedAddresses(runtimeConfig, args) : { addresses: [] }),
    ranges: chooses ? wishedRanges(own(runtimeConfig, "ipRanges") ?? []) : [],
    ...(mac === undefined ? {} : { mac }),
    ...(dns === undefined ? {} : { dns }),
  };
}

/** The conventions have IP passed over where `args.cni.ips` is there. */
function refuseArgs({ IP, MAC }: Pick<CniArgs, "IP" | "MAC">, args: JsonObject, chooses: boolean): void {
  if (chooses && IP !== undefined && (olderIps(args) ?? null) === null) {
    throw unsupported("CNI_ARGS IP", IP, "is not supported; ask by the capability ips");
  }
  if (MAC !== undefined) throw unsupported("CNI_ARGS MAC", MAC, "is not supported; ask by the capability mac");
}

function olderIps(args: JsonObject): unknown {
  const older = own(args, "cni");
  return isJsonObject(older) ? own(older, "ips") : undefined;
}

function wishedAddresses(runtimeConfig: JsonObject, args: JsonObject): Pick<Wishes, "addresses" | "asked"> {
  const places: [string, unknown][] = [
    ["runtimeConfig.ips", own(runtimeConfig, "ips")],
    ["args.cni.ips", olderIps(args)],
  ];
  const [key, value] = places.find(([, list]) => (list ?? null) !== null) ?? ["", []];
  if (!Array.isArray(value)) throw unsupported(key, value, "must be an array of addresses");
  const addresses: Ip[] = [];
  const asked: string[] = [];
  for (const [index, text] of value.entries()) {
    const where = `${key}[${index}]`;
    const address = typeof text === "string" ? (parseIp(text) ?? parseInterfaceAddress(text)?.address) : undefined;
    if (address === undefined) throw unsupported(where, text, "must be an IP address, with or without a prefix length");
    if (addresses.some((other) => ipFamily(other) === ipFamily(address))) {
      throw unsupported(where, text, "is the second address of its family; a pod gets one of each");
    }
    addresses.push(address);
    asked.push(`${where}: ${nameOf(text)}`);
  }
  return { addresses, ...(asked.length === 0 ? {} : { asked }) };
}

function wishedRanges(value: unknown): AddressRange[] {
  const key = "runtimeConfig.ipRanges";
  if (!Array.isArray(value)) throw unsupported(key, value, "must be an array of arrays of ranges");
  const ranges = value.flatMap((set: unknown, index) => {
    const where = `${key}[${index}]`;
    if (!Array.isArray(set)) throw unsupported(where, set, "must be an array of ranges");
    return set.map((range: unknown, at) => wishedRange(range, `${where}[${at}]`));
  });
  if (ranges.length > rangesMax) throw unsupported(key, ranges.length, `has more than ${rangesMax} ranges`);
  return ranges;
}

/** As host-local reads one: `rangeStart` and `rangeEnd` are optional, `gateway` is not ours to choose from. */
function wishedRange(value: unknown, where: string): AddressRange {
  if (!isJsonObject(value)) throw unsupported(where, value, "must be an object with a subnet");
  const text = own(value, "subnet");
  const subnet = typeof text === "string" ? parseCidr(text) : undefined;
  if (subnet === undefined) throw unsupported(`${where}.subnet`, text, "must be a network such as 10.4.1.0/26");
  const end = (key: string, otherwise: bigint): Ip => {
    const given = own(value, key) ?? "";
    if (given === "") return addressAt(subnet, otherwise);
    const address = typeof given === "string" ? parseIp(given) : undefined;
    if (address === undefined || !cidrContains(subnet, address)) {
      throw unsupported(`${where}.${key}`, given, `must be an address in ${subnet}`);
    }
    return address;
  };
  const [first, last] = [end("rangeStart", 0n), end("rangeEnd", cidrSize(subnet) - 1n)];
  const range = { first, last, asked: `${where}: ${first}-${last} of ${subnet}` };
  if (ipToNumber(range.first) > ipToNumber(range.last)) {
    throw unsupported(where, `${range.first}-${range.last}`, "ends before it begins");
  }
  return range;
}

function parseWishedMac(value: unknown): Mac | undefined {
  if (value === "") return undefined;
  const mac = typeof value === "string" ? parseMac(value) : undefined;
  if (mac === undefined || !isUnicastMac(mac)) {
    throw unsupported("runtimeConfig.mac", value, "must be a unicast Ethernet address such as 02:00:00:00:00:01");
  }
  return mac;
}

/** The capability's words for what a result calls nameservers and search. */
function runtimeDns(value: unknown): ResultDns | undefined {
  if (value === undefined || value === null) return undefined;
  const where = "runtimeConfig.dns";
  if (!isJsonObject(value)) throw unsupported(where, value, "must be an object with servers, searches and options");
  return parseDns(
    { nameservers: own(value, "servers"), search: own(value, "searches"), options: own(value, "options") },
    where,
  );
}

/** The specification wants both the key and the value in the message (error code 2). */
function unsupported(key: string, value: unknown, why: string): Fault {
  return new Fault("unsupported-value", `${key}: ${nameOf(value)} ${why}`, { data: { key } });
}
