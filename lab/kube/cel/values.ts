// Values of CEL expressions, and what is equal, larger or of which type among them.

import { type Cidr, cidrOf } from "../../../src/net/cidr.ts";
import type { Ip } from "../../../src/net/ip.ts";

/** An integer is a bigint, a double a number. */
export type CelValue = null | boolean | bigint | number | string | readonly CelValue[] | CelMap | CelIp | CelCidr;

/** An object or map; its values are made when they are looked at. */
export class CelMap {
  readonly keys: readonly string[];
  readonly #get: (key: string) => CelValue | undefined;

  constructor(keys: readonly string[], get: (key: string) => CelValue | undefined) {
    this.keys = keys;
    this.#get = get;
  }

  /** Undefined where the key is not there. */
  get(key: string): CelValue | undefined {
    return this.#get(key);
  }
}

export class CelIp {
  readonly ip: Ip;

  constructor(ip: Ip) {
    this.ip = ip;
  }
}

/** An address with a prefix length; host bits may be set (`masked()` clears them). */
export class CelCidr {
  readonly ip: Ip;
  readonly prefix: number;

  constructor(ip: Ip, prefix: number) {
    this.ip = ip;
    this.prefix = prefix;
  }

  network(): Cidr {
    return cidrOf(this.ip, this.prefix);
  }
}

/** An expression that cannot be read, or has no value for what it is given. */
export class CelError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CelError";
  }
}

export const isList = (value: CelValue): value is readonly CelValue[] => Array.isArray(value);

export function typeName(value: CelValue): string {
  if (value === null) return "null_type";
  if (isList(value)) return "list";
  if (value instanceof CelMap) return "map";
  if (value instanceof CelIp) return "net.IP";
  if (value instanceof CelCidr) return "net.CIDR";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return "int";
  return typeof value === "number" ? "double" : "string";
}

const isNumber = (value: CelValue): value is number | bigint => typeof value === "number" || typeof value === "bigint";

export function equalValues(left: CelValue, right: CelValue): boolean {
  // The language has 1 == 1.0, and two types that do not compare are unequal.
  if (isNumber(left) && isNumber(right)) return Number(left) === Number(right);
  if (isList(left))
    return isList(right) && left.length === right.length && left.every((each, at) => equalAt(each, right[at]));
  if (left instanceof CelMap)
    return (
      right instanceof CelMap &&
      left.keys.length === right.keys.length &&
      left.keys.every((key) => equalAt(left.get(key), right.get(key)))
    );
  if (left instanceof CelIp) return right instanceof CelIp && left.ip === right.ip;
  if (left instanceof CelCidr) return right instanceof CelCidr && left.ip === right.ip && left.prefix === right.prefix;
  return left === right;
}

const equalAt = (left: CelValue | undefined, right: CelValue | undefined): boolean =>
  left !== undefined && right !== undefined && equalValues(left, right);

/** Below, at or above 0. @throws CelError where the two have no order */
export function compareValues(left: CelValue, right: CelValue): number {
  if (isNumber(left) && isNumber(right)) return Number(left) - Number(right);
  if (typeof left === "string" && typeof right === "string") return left < right ? -1 : left > right ? 1 : 0;
  if (typeof left === "boolean" && typeof right === "boolean") return Number(left) - Number(right);
  throw new CelError(`no such overload: ${typeName(left)} < ${typeName(right)}`);
}
