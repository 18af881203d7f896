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

/** The addresses of a network as it is written; bits after the prefix count for nothing, as for the API server. Unreadable: undefined. */
export function readNetwork(text: string): Range | undefined {
  const parts = /^([0-9a-f.:]+)\/([0-9]{1,3})$/i.exec(text);
  if (parts === null) return undefined;
  const [, address = "", digits = ""] = parts;
  const number = readAddress(address);
  const prefix = BigInt(digits);
  if (number === undefined || (digits.length > 1 && digits.startsWith("0"))) return undefined;
  const bits = address.includes(":") ? 128n : 32n;
  if (prefix > bits) return undefined;
  const size = 2n ** (bits - prefix);
  const first = number - (number % size);
  return { family: bits === 128n ? 6 : 4, first, last: first + size - 1n };
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

/** The number of an address; undefined where it is none. IPv4 with a leading zero is none, nor is a dotted tail in IPv6. */
function readAddress(text: string): bigint | undefined {
  const numbers = text.includes(":") ? v6Groups(text) : v4Octets(text);
  const base = text.includes(":") ? 65_536n : 256n;
  return numbers?.reduce((sum, number) => sum * base + BigInt(number), 0n);
}

function v4Octets(text: string): number[] | undefined {
  const octets = text.split(".");
  const good =
    octets.length === 4 && octets.every((octet) => /^(0|[1-9][0-9]{0,2})$/.test(octet) && Number(octet) < 256);
  return good ? octets.map(Number) : undefined;
}

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
