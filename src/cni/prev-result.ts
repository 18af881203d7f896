// Results that come back to us as prevResult, in the shape of any version, read into the one shape we think in.

import { Fault } from "../base/fault.ts";
import { type Cidr, cidrOf, type InterfaceAddress, parseInterfaceAddress } from "../net/cidr.ts";
import { type Ip, parseIp } from "../net/ip.ts";
import { parseMac } from "../net/mac.ts";
import { isJsonObject, nameOf, own } from "./json.ts";
import type { AttachmentResult, JsonObject, ResultDns, ResultInterface, ResultIp, ResultRoute } from "./types.ts";

/** Most entries in any one list of a result. */
export const resultEntriesMax = 1024;

/**
 * Reads a result, of another plugin or of ours, by its shape, not by its cniVersion: runtimes hand over what another version of themselves has stored.
 * Unknown keys are passed over, absent and null lists are empty.
 * @param where names it in messages
 * @throws Fault "bad-network-config" naming the first thing that cannot be read
 */
export function parseResult(value: unknown, where = "prevResult"): AttachmentResult {
  const result = objectAt(value, where);
  const dns = parseDns(own(result, "dns"), `${where}.dns`);
  const old = own(result, "ip4") !== undefined || own(result, "ip6") !== undefined;
  return { ...(old ? parseOldLists(result, where) : parseLists(result, where)), ...(dns === undefined ? {} : { dns }) };
}

type Lists = Omit<AttachmentResult, "dns">;

/** 0.3.0 and later. */
function parseLists(result: JsonObject, where: string): Lists {
  const interfaces = listAt(result, "interfaces", where).map((entry, index) =>
    parseInterface(entry, `${where}.interfaces[${index}]`),
  );
  const ips = listAt(result, "ips", where).map((entry, index) =>
    parseResultIp(entry, `${where}.ips[${index}]`, interfaces.length),
  );
  const routes = listAt(result, "routes", where).map((entry, index) => parseRoute(entry, `${where}.routes[${index}]`));
  return { interfaces, ips, routes };
}

/** 0.1.0 and 0.2.0: one address of each family, each with its routes, and no interfaces. */
function parseOldLists(result: JsonObject, where: string): Lists {
  const lists: Lists = { interfaces: [], ips: [], routes: [] };
  for (const key of ["ip4", "ip6"]) {
    const value = own(result, key) ?? undefined;
    if (value === undefined) continue;
    const place = `${where}.${key}`;
    const entry = objectAt(value, place);
    const gateway = ipAt(entry, "gateway", place);
    lists.ips.push({ ...addressAt(entry, "ip", place), ...(gateway === undefined ? {} : { gateway }) });
    const routes = listAt(entry, "routes", place);
    lists.routes.push(...routes.map((route, index) => parseRoute(route, `${place}.routes[${index}]`)));
  }
  return lists;
}

function parseInterface(value: unknown, where: string): ResultInterface {
  const entry = objectAt(value, where);
  // An address that is no Ethernet address (InfiniBand has 20 bytes) belongs to another plugin's interface.
  const mac = parseMac(textAt(entry, "mac", where) ?? "");
  const mtu = numberAt(entry, "mtu", where);
  return {
    name: textAt(entry, "name", where) ?? "",
    ...(mac === undefined ? {} : { mac }),
    ...(mtu === undefined ? {} : { mtu }),
    sandbox: textAt(entry, "sandbox", where) ?? "",
  };
}

function parseResultIp(value: unknown, where: string, interfaceCount: number): ResultIp {
  const entry = objectAt(value, where);
  const on = numberAt(entry, "interface", where);
  if (on !== undefined && on >= interfaceCount) {
    throw unreadable(`${where}.interface`, `is ${on}, and there are ${interfaceCount} interfaces`);
  }
  const gateway = ipAt(entry, "gateway", where);
  return {
    ...(on === undefined ? {} : { interface: on }),
    ...addressAt(entry, "address", where),
    ...(gateway === undefined ? {} : { gateway }),
  };
}

const routeNumbers = ["mtu", "advmss", "priority", "table", "scope"] as const;

function parseRoute(value: unknown, where: string): ResultRoute {
  const entry = objectAt(value, where);
  const via = ipAt(entry, "gw", where);
  const route: ResultRoute = { to: networkAt(entry, "dst", where), ...(via === undefined ? {} : { via }) };
  for (const key of routeNumbers) {
    const number = numberAt(entry, key, where);
    if (number !== undefined) route[key] = number;
  }
  return route;
}

/** Reads a dns object; one without any content is none. `where` names it in messages. @throws Fault "bad-network-config" */
export function parseDns(value: unknown, where: string): ResultDns | undefined {
  if (value === undefined || value === null) return undefined;
  const entry = objectAt(value, where);
  const dns: ResultDns = {};
  for (const key of ["nameservers", "search", "options"] as const) {
    const list = listAt(entry, key, where).map((text) => {
      if (typeof text !== "string") throw unreadable(`${where}.${key}`, `has ${nameOf(text)} where text must be`);
      return text;
    });
    if (list.length > 0) dns[key] = list;
  }
  const domain = textAt(entry, "domain", where) ?? "";
  if (domain !== "") dns.domain = domain;
  return Object.keys(dns).length === 0 ? undefined : dns;
}

function objectAt(value: unknown, where: string): JsonObject {
  if (!isJsonObject(value)) throw unreadable(where, `must be an object, not ${nameOf(value)}`);
  return value;
}

function listAt(object: JsonObject, key: string, where: string): readonly unknown[] {
  const value = own(object, key) ?? [];
  if (!Array.isArray(value)) throw unreadable(`${where}.${key}`, `must be an array, not ${nameOf(value)}`);
  if (value.length > resultEntriesMax) {
    throw unreadable(`${where}.${key}`, `has ${value.length} entries; at most ${resultEntriesMax} are read`);
  }
  return value;
}

function textAt(object: JsonObject, key: string, where: string): string | undefined {
  const value = own(object, key) ?? undefined;
  if (value !== undefined && typeof value !== "string")
    throw unreadable(`${where}.${key}`, `must be text, not ${nameOf(value)}`);
  return value;
}

/** A count or an index: a whole number from 0. */
function numberAt(object: JsonObject, key: string, where: string): number | undefined {
  const value = own(object, key) ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw unreadable(`${where}.${key}`, `must be a whole number from 0, not ${nameOf(value)}`);
  }
  return value;
}

/** Absent where the text is empty: so some plugins write "no gateway". */
function ipAt(object: JsonObject, key: string, where: string): Ip | undefined {
  const text = textAt(object, key, where) ?? "";
  if (text === "") return undefined;
  const ip = parseIp(text);
  if (ip === undefined) throw unreadable(`${where}.${key}`, `must be an IP address, not ${nameOf(text)}`);
  return ip;
}

function addressAt(object: JsonObject, key: string, where: string): InterfaceAddress {
  const text = textAt(object, key, where);
  const parsed = parseInterfaceAddress(text ?? "");
  if (parsed === undefined)
    throw unreadable(`${where}.${key}`, `must be an address with its prefix length, not ${nameOf(text)}`);
  return parsed;
}

/** Host bits may be set: the common library keeps them in routes. */
function networkAt(object: JsonObject, key: string, where: string): Cidr {
  const { address, prefix } = addressAt(object, key, where);
  return cidrOf(address, prefix);
}

function unreadable(where: string, why: string): Fault {
  return new Fault("bad-network-config", `${where} ${why}`);
}
