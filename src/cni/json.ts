// JSON from outside: bounded before it is parsed, and read without trusting its keys.

import { Fault } from "../base/fault.ts";
import type { JsonObject } from "./types.ts";
import { quote } from "./quote.ts";

/** Largest document, in bytes: the body of one frame. */
export const jsonLengthMax = 1_048_576;
/** Deepest nesting of objects and arrays; real configurations stay below ten. */
export const jsonDepthMax = 64;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads exactly one JSON object.
 * @throws Fault "bad-json": empty, too large, too deep, not UTF-8, not JSON, more than one document, or no object. `what` names the document.
 */
export function parseJsonObject(bytes: Uint8Array, what: string): JsonObject {
  if (bytes.length > jsonLengthMax) {
    throw new Fault("bad-json", `${what} has ${bytes.length} bytes; at most ${jsonLengthMax} are read`);
  }
  if (isDeeperThan(bytes, jsonDepthMax)) {
    throw new Fault("bad-json", `${what} is nested deeper than ${jsonDepthMax} levels`);
  }
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    const empty = bytes.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
    throw new Fault("bad-json", empty ? `${what} is empty` : `${what} is not one JSON document in UTF-8`, { cause });
  }
  if (!isJsonObject(value)) throw new Fault("bad-json", `${what} must be a JSON object, not ${nameOf(value)}`);
  return value;
}

/** True for what JSON calls an object: no array, no null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value under a key that the document itself has; never one that every JavaScript object inherits. */
export function own(object: JsonObject, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** What a JSON value is, for messages; text is quoted. */
export function nameOf(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "string") return quote(value);
  return typeof value === "object" ? "an object" : `the ${typeof value} ${JSON.stringify(value)}`;
}

/** Counts brackets outside strings. In text that is no JSON the count means nothing, and the parser refuses it anyway. */
export function isDeeperThan(bytes: Uint8Array, depthMax: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === 0x22) inString = !inString;
    else if (inString) at += byte === 0x5c ? 1 : 0; // a backslash takes the next byte along
    else if (byte === 0x7b || byte === 0x5b) depth += 1;
    else if (byte === 0x7d || byte === 0x5d) depth -= 1;
    if (depth > depthMax) return true;
  }
  return false;
}
