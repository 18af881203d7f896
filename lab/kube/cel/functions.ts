// The functions that expressions may call: of the language, of strings and lists, and Kubernetes' own for addresses.

import { cidrBase, cidrContains, parseInterfaceAddress } from "../../../src/net/cidr.ts";
import { ipFamily, isGlobalUnicast, isLinkLocal, parseIp } from "../../../src/net/ip.ts";
import {
  CelCidr,
  CelError,
  CelIp,
  CelMap,
  type CelValue,
  compareValues,
  equalValues,
  isList,
  typeName,
} from "./values.ts";

/** A function of its arguments; of a method, the first is what it is called on. */
type CelFunction = (...args: CelValue[]) => CelValue;

/** Texts that an expression makes are not longer. */
const madeTextLenMax = 1_000_000;

function mismatch(name: string, args: readonly CelValue[]): CelError {
  return new CelError(`no such overload: ${name}(${args.map(typeName).join(", ")})`);
}

/** A function of texts alone. */
const ofTexts =
  (name: string, count: number, body: (...texts: string[]) => CelValue): CelFunction =>
  (...args) => {
    const texts = args.filter((each) => typeof each === "string");
    if (texts.length !== args.length || texts.length !== count) throw mismatch(name, args);
    return body(...texts);
  };

function pattern(text: string): RegExp {
  try {
    return new RegExp(text, "u");
  } catch {
    throw new CelError(`${JSON.stringify(text)} is no regular expression`);
  }
}

function size(value: CelValue): bigint {
  if (typeof value === "string") return BigInt(Array.from(value).length);
  if (isList(value)) return BigInt(value.length);
  if (value instanceof CelMap) return BigInt(value.keys.length);
  throw mismatch("size", [value]);
}

function isIn(value: CelValue, where: CelValue): boolean {
  if (isList(where)) return where.some((each) => equalValues(each, value));
  if (where instanceof CelMap) return typeof value === "string" && where.get(value) !== undefined;
  throw mismatch("in", [value, where]);
}

function integer(value: CelValue): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return BigInt(Math.trunc(value));
  if (typeof value === "string" && /^-?\d{1,19}$/.test(value)) return BigInt(value);
  throw mismatch("int", [value]);
}

function text(value: CelValue): string {
  if (value instanceof CelIp) return value.ip;
  if (value instanceof CelCidr) return `${value.ip}/${value.prefix}`;
  if (value === null || isList(value) || value instanceof CelMap) throw mismatch("string", [value]);
  return String(value);
}

function ip(value: CelValue): CelIp {
  if (value instanceof CelCidr) return new CelIp(value.ip);
  const parsed = typeof value === "string" ? parseIp(value) : undefined;
  if (parsed === undefined)
    throw new CelError(`IP Address ${JSON.stringify(typeof value === "string" ? value : "")} parse error`);
  return new CelIp(parsed);
}

function cidr(value: CelValue): CelCidr {
  const parsed = typeof value === "string" ? parseInterfaceAddress(value) : undefined;
  if (parsed === undefined)
    throw new CelError(
      `network address parse error during conversion from string: ${typeof value === "string" ? value : ""}`,
    );
  return new CelCidr(parsed.address, parsed.prefix);
}

const onIp =
  (name: string, body: (address: CelIp) => CelValue): CelFunction =>
  (value) => {
    if (value instanceof CelIp) return body(value);
    throw mismatch(name, [value ?? null]);
  };

function containsCidr(outer: CelValue, inner: CelValue): boolean {
  const network = typeof inner === "string" ? cidr(inner) : inner;
  if (!(outer instanceof CelCidr) || !(network instanceof CelCidr)) throw mismatch("containsCIDR", [outer, inner]);
  return outer.prefix <= network.prefix && cidrContains(outer.network(), network.ip);
}

function containsIp(outer: CelValue, inner: CelValue): boolean {
  const address = typeof inner === "string" ? ip(inner) : inner;
  if (!(outer instanceof CelCidr) || !(address instanceof CelIp)) throw mismatch("containsIP", [outer, inner]);
  return cidrContains(outer.network(), address.ip);
}

function listOf(name: string, value: CelValue | undefined): readonly CelValue[] {
  if (value !== undefined && isList(value)) return value;
  throw mismatch(name, [value ?? null]);
}

const isSorted = (list: readonly CelValue[]): boolean =>
  list.every((each, at) => at === 0 || compareValues(list[at - 1] ?? null, each) <= 0);

/** The least or largest of a list. */
function extreme(name: string, list: readonly CelValue[], sign: 1 | -1): CelValue {
  const [first, ...rest] = list;
  if (first === undefined) throw new CelError(`${name} called on empty list`);
  return rest.reduce((best, each) => (compareValues(each, best) * sign > 0 ? each : best), first);
}

function sum(list: readonly CelValue[]): CelValue {
  return list.reduce<CelValue>((total, each) => arithmetic("+", total, each), 0n);
}

function ofIntegers(name: string, left: bigint, right: bigint): bigint {
  if (name === "+") return left + right;
  if (name === "-") return left - right;
  if (name === "*") return left * right;
  return name === "/" ? left / right : left % right;
}

/** @throws CelError for a division by zero, or types that do not go together */
export function arithmetic(name: string, left: CelValue, right: CelValue): CelValue {
  if (typeof left === "bigint" && typeof right === "bigint") {
    if ((name === "/" || name === "%") && right === 0n) throw new CelError("division by zero");
    const value = ofIntegers(name, left, right);
    if (BigInt.asIntN(64, value) !== value) throw new CelError("integer overflow");
    return value;
  }
  if (typeof left === "number" && typeof right === "number" && name !== "%")
    return name === "+" ? left + right : name === "-" ? left - right : name === "*" ? left * right : left / right;
  if (name === "+" && typeof left === "string" && typeof right === "string") {
    if (left.length + right.length > madeTextLenMax) throw new CelError(`text longer than ${madeTextLenMax}`);
    return left + right;
  }
  if (name === "+" && isList(left) && isList(right)) return [...left, ...right];
  throw mismatch(name, [left, right]);
}

/** Functions by name; as methods they get what they are called on first. */
export const functions: ReadonlyMap<string, CelFunction> = new Map<string, CelFunction>([
  ["size", (value = null) => size(value)],
  ["in", (value = null, where = null) => isIn(value, where)],
  ["int", (value = null) => integer(value)],
  ["double", (value = null) => Number(typeof value === "number" ? value : integer(value))],
  ["string", (value = null) => text(value)],
  ["matches", ofTexts("matches", 2, (value, regex) => pattern(regex).test(value))],
  ["startsWith", ofTexts("startsWith", 2, (value, start) => value.startsWith(start))],
  ["endsWith", ofTexts("endsWith", 2, (value, end) => value.endsWith(end))],
  ["contains", ofTexts("contains", 2, (value, part) => value.includes(part))],
  ["lowerAscii", ofTexts("lowerAscii", 1, (value) => value.toLowerCase())],
  ["upperAscii", ofTexts("upperAscii", 1, (value) => value.toUpperCase())],
  ["trim", ofTexts("trim", 1, (value) => value.trim())],
  ["split", ofTexts("split", 2, (value, separator) => value.split(separator))],
  ["replace", ofTexts("replace", 3, (value, old, next) => value.replaceAll(old, next))],
  ["indexOf", ofTexts("indexOf", 2, (value, part) => BigInt(value.indexOf(part)))],
  ["join", (list, separator = "") => listOf("join", list).map(text).join(text(separator))],
  ["isSorted", (list) => isSorted(listOf("isSorted", list))],
  ["sum", (list) => sum(listOf("sum", list))],
  ["min", (list) => extreme("min", listOf("min", list), -1)],
  ["max", (list) => extreme("max", listOf("max", list), 1)],
  ["isIP", ofTexts("isIP", 1, (value) => parseIp(value) !== undefined)],
  ["isCIDR", ofTexts("isCIDR", 1, (value) => parseInterfaceAddress(value) !== undefined)],
  ["ip", (value = null) => ip(value)],
  ["cidr", (value = null) => cidr(value)],
  ["family", onIp("family", ({ ip }) => BigInt(ipFamily(ip)))],
  ["isLoopback", onIp("isLoopback", ({ ip }) => ip === "::1" || ip.startsWith("127."))],
  ["isUnspecified", onIp("isUnspecified", ({ ip }) => ip === "::" || ip === "0.0.0.0")],
  ["isLinkLocalUnicast", onIp("isLinkLocalUnicast", ({ ip }) => isLinkLocal(ip))],
  ["isGlobalUnicast", onIp("isGlobalUnicast", ({ ip }) => isGlobalUnicast(ip))],
  ["prefixLength", (value = null) => BigInt(network("prefixLength", value).prefix)],
  ["masked", (value = null) => masked(network("masked", value))],
  ["containsIP", (outer = null, inner = null) => containsIp(outer, inner)],
  ["containsCIDR", (outer = null, inner = null) => containsCidr(outer, inner)],
]);

function network(name: string, value: CelValue): CelCidr {
  if (value instanceof CelCidr) return value;
  throw mismatch(name, [value]);
}

function masked(value: CelCidr): CelCidr {
  return new CelCidr(cidrBase(value.network()), value.prefix);
}
