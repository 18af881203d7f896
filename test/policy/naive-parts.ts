// What the naive reading is made of: label selectors, and networks as ranges of numbers. Shares nothing with src on purpose.

import type { LabelSelector } from "../../src/kube/policy-objects.ts";
import type { Ip } from "../../src/net/ip.ts";

/** Both parts of a selector must hold, each of their entries too; an empty selector holds for everything. */
export function selects(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] !== value) return false;
  }
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const value = labels[key];
    // "values … must be non-empty" for In and NotIn, "must be empty" for Exists and DoesNotExist; else the whole selector is an error.
    if ((operator === "In" || operator === "NotIn") !== values.length > 0) return false;
    const holds = {
      In: value !== undefined && values.includes(value),
      NotIn: value === undefined || !values.includes(value),
      Exists: value !== undefined,
      DoesNotExist: value === undefined,
    }[operator];
    if (!holds) return false;
  }
  return true;
}

export interface Range {
  family: 4 | 6;
  first: bigint;
  last: bigint;
}

/**
 * The addresses of a network as the API server reads it: bits after the prefix and leading zeros count for nothing, and an IPv4 network
 * can be written as one of ::ffff:0:0/96. Unreadable: undefined.
 */
export function readNetwork(text: string): Range | undefined {
  const parts = /^([0-9a-f.:]+)\/([0-9]{1,3})$/i.exec(text);
  if (parts === null) return undefined;
  const [, address = "", digits = ""] = parts;
  const number = readAddress(address);
  if (number === undefined) return undefined;
  const bits = address.includes(":") ? 128n : 32n;
  const prefix = BigInt(digits);
  if (prefix > bits) return undefined;
  const size = 2n ** (bits - prefix);
  const first = number - (number % size);
  const last = first + size - 1n;
  if (bits === 32n) return { family: 4, first, last };
  const mapped = 0xffff_0000_0000n;
  if (number < mapped || number >= mapped + 2n ** 32n) return { family: 6, first, last };
  return prefix < 96n ? undefined : { family: 4, first: first - mapped, last: last - mapped };
}

/** An address as a number of its family. */
export interface Place {
  family: 4 | 6;
  number: bigint;
}

export function placeOf(address: Ip): Place {
  const number = readAddress(address);
  if (number === undefined) throw new Error(`${address} is an address`);
  return { family: address.includes(":") ? 6 : 4, number };
}

export function inRange({ family, first, last }: Range, place: Place): boolean {
  return family === place.family && first <= place.number && place.number <= last;
}

/** The number of an address, undefined where it is none. */
function readAddress(text: string): bigint | undefined {
  const dotted = /[0-9]+(?:\.[0-9]+)+$/.exec(text)?.[0];
  const octets = dotted === undefined ? undefined : v4Octets(dotted);
  if (dotted !== undefined && octets === undefined) return undefined;
  if (!text.includes(":")) return dotted === text ? numberOf(octets, 256n) : undefined;
  if (octets === undefined) return numberOf(v6Groups(text), 65_536n);
  const [a = 0, b = 0, c = 0, d = 0] = octets;
  const tail = `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  return numberOf(v6Groups(text.slice(0, -(dotted ?? "").length) + tail), 65_536n);
}

function numberOf(digits: readonly number[] | undefined, base: bigint): bigint | undefined {
  return digits?.reduce((sum, digit) => sum * base + BigInt(digit), 0n);
}

function v4Octets(text: string): number[] | undefined {
  const octets = text.split(".").map(Number);
  return octets.length === 4 && octets.every((octet) => octet < 256) ? octets : undefined;
}

/** Without a dotted tail. */
function v6Groups(text: string): number[] | undefined {
  const [left = "", right, ...more] = text.split("::");
  if (more.length > 0) return undefined;
  const head = left === "" ? [] : left.split(":");
  const tail = right === undefined || right === "" ? [] : right.split(":");
  const missing = 8 - head.length - tail.length;
  if (right === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...Array.from({ length: missing }, () => "0"), ...tail];
  return groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))
    ? groups.map((group) => Number.parseInt(group, 16))
    : undefined;
}
