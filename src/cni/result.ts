// What the plugin prints: results in the shape of each version, errors, and the answer to VERSION.

import { assert } from "../base/assert.ts";
import { asFault, describe, type Fault, faults } from "../base/fault.ts";
import { cidrFamily } from "../net/cidr.ts";
import { ipFamily } from "../net/ip.ts";
import { own } from "./json.ts";
import { clip } from "./quote.ts";
import {
  type AttachmentResult,
  atLeast,
  type CniVersion,
  type JsonObject,
  newestVersion,
  type ResultDns,
  type ResultInterface,
  type ResultIp,
  type ResultRoute,
  supportedVersions,
} from "./types.ts";

/** Longest `msg` and longest `details` of an error, in characters. */
export const errorTextLengthMax = 4096;

/**
 * The result as JSON object of that version. `previous`: what the plugin before us in the chain gave, in the same
 * version and readable by parseResult; it is passed on as it is, ours after it.
 */
export function resultObject(result: AttachmentResult, version: CniVersion, previous: JsonObject = {}): JsonObject {
  assert(result.ips.length > 0, "a result has an address");
  const dns = dnsObject(result.dns);
  return {
    ...previous,
    cniVersion: version,
    ...(atLeast(version, "0.3.0") ? listShape(result, version, previous) : familyShape(result, previous)),
    ...(dns === undefined ? {} : { dns }),
  };
}

/** Any failure as the error object that runtimes parse. `version`: the one that the request speaks, where that is known. */
export function errorObject(error: unknown, version: CniVersion = newestVersion): JsonObject {
  const fault = asFault(error);
  return {
    cniVersion: version,
    code: cniCode(fault),
    msg: clip(fault.message, errorTextLengthMax),
    ...(fault.cause === undefined ? {} : { details: clip(describe(fault.cause), errorTextLengthMax) }),
  };
}

/** That of a delegate is its own: the caller is to act on it as if it had called it itself. */
function cniCode({ code, data }: Fault): number {
  const given = data["cniCode"];
  return code === "delegate-failed" && typeof given === "number" ? given : faults[code].cni;
}

/** The answer to VERSION. */
export function versionObject(version: CniVersion): JsonObject {
  return { cniVersion: version, supportedVersions };
}

/** 0.3.0 and later: lists, with each address pointing at its interface. */
function listShape(result: AttachmentResult, version: CniVersion, previous: JsonObject): JsonObject {
  const before = {
    interfaces: listOf(previous, "interfaces"),
    ips: listOf(previous, "ips"),
    routes: listOf(previous, "routes"),
  };
  const shift = before.interfaces.length;
  return {
    interfaces: [...before.interfaces, ...result.interfaces.map((entry) => interfaceObject(entry, version))],
    ips: [...before.ips, ...result.ips.map((entry) => ipObject(entry, version, shift))],
    routes: [...before.routes, ...result.routes.map((route) => routeObject(route, version))],
  };
}

/** 0.1.0 and 0.2.0: the first address of each family, with the routes of that family. An address that came before ours stays. */
function familyShape({ ips, routes }: AttachmentResult, previous: JsonObject): JsonObject {
  const shape: Record<string, unknown> = {};
  for (const family of [4, 6] as const) {
    const first = ips.find(({ address }) => ipFamily(address) === family);
    const key = `ip${family}`;
    if (first === undefined || (own(previous, key) ?? null) !== null) continue;
    const ofFamily = routes.filter(({ to }) => cidrFamily(to) === family);
    shape[key] = {
      ip: `${first.address}/${first.prefix}`,
      ...(first.gateway === undefined ? {} : { gateway: first.gateway }),
      ...(ofFamily.length === 0 ? {} : { routes: ofFamily.map((route) => routeObject(route, "0.2.0")) }),
    };
  }
  return shape;
}

function interfaceObject({ name, mac, mtu, sandbox }: ResultInterface, version: CniVersion): JsonObject {
  return {
    name,
    ...(mac === undefined ? {} : { mac }),
    ...(mtu === undefined || !atLeast(version, "1.1.0") ? {} : { mtu }),
    sandbox,
  };
}

function ipObject(
  { interface: on, address, prefix, gateway }: ResultIp,
  version: CniVersion,
  shift: number,
): JsonObject {
  return {
    ...(atLeast(version, "1.0.0") ? {} : { version: String(ipFamily(address)) }),
    ...(on === undefined ? {} : { interface: on + shift }),
    address: `${address}/${prefix}`,
    ...(gateway === undefined ? {} : { gateway }),
  };
}

function routeObject({ to, via, ...numbers }: ResultRoute, version: CniVersion): JsonObject {
  return { dst: to, ...(via === undefined ? {} : { gw: via }), ...(atLeast(version, "1.1.0") ? numbers : {}) };
}

function dnsObject(dns: ResultDns | undefined): JsonObject | undefined {
  return dns === undefined || Object.keys(dns).length === 0 ? undefined : { ...dns };
}

function listOf(object: JsonObject, key: string): readonly unknown[] {
  const value = own(object, key);
  return Array.isArray(value) ? value : [];
}
