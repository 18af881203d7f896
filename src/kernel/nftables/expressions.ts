// Rules as the kernel's expressions: each statement becomes loads, comparisons, lookups and verdicts over registers.

import { assert } from "../../base/assert.ts";
import { type Cidr, cidrBase, cidrPrefix } from "../../net/cidr.ts";
import { ipBytes } from "../../net/ip.ts";
import {
  byteOrder,
  compare,
  dynsetUpdate,
  lookupInverted,
  limitPackets,
  natFlag,
  numberRandom,
  objectCounter,
  payloadBase,
  rejectWithReset,
  toNetworkOrder,
  verdictRegister,
  verdicts,
} from "./constants.ts";
import type { Expression } from "./expression-kinds.ts";
import {
  type ConstantElement,
  type Field,
  type FieldName,
  type Need,
  constantElements,
  fields,
  icmpNeeds,
  namedKey,
  numberKey,
  paddedLength,
} from "./fields.ts";
import type { Comparison, Effect, MasqueradeStatement, Rule, Statement, Verdict } from "./ruleset.ts";

/** A set that keeps what it holds: within its batch it is known by `id`. */
export interface ConstantSet {
  id: number;
  /** Absent where a rule brings it along. */
  name?: string;
  field: Field;
  interval: boolean;
  elements: readonly ConstantElement[];
  /** What is done with each element, in their order: it is a map then. */
  verdicts?: readonly Verdict[];
}

/** The name under which a rule refers to an anonymous set; the kernel puts a number for "%d". */
export const anonymousSetName = "__set%d";
export const anonymousMapName = "__map%d";

/** What numbers sets within a batch, so that rules can refer to sets made in the same batch. */
export interface SetIds {
  /** The number of a named set; undefined where the kernel is to find it by its name alone. */
  of(name: string): number | undefined;
  /** A number for a set without a name. */
  next(): number;
}

/** The expressions of `rule`, and the anonymous sets that must be made before it. */
export function ruleExpressions(rule: Rule, setIds: SetIds): { expressions: Expression[]; sets: ConstantSet[] } {
  const sets: ConstantSet[] = [];
  const known = new Set<string>(); // what this rule has already compared, so that it is compared once
  const expressions = rule.flatMap((statement) => [
    ...needsOf(statement).flatMap((need) => requirement(need, known)),
    ...statementExpressions(statement, setIds, sets, known),
  ]);
  return { expressions, sets };
}

/** "This is an IPv6 packet", before the bytes of an IPv6 header may be read. */
function needsOf(statement: Statement): readonly Need[] {
  if ("icmp" in statement) return icmpNeeds[statement.icmp];
  if (!("match" in statement)) return [];
  const names = typeof statement.match === "string" ? [statement.match] : statement.match;
  return names.flatMap((name) => fields[name].needs ?? []);
}

function requirement({ meta, value }: Need, known: Set<string>): Expression[] {
  if (known.has(`${meta}=${value}`)) return [];
  known.add(`${meta}=${value}`);
  const register = registerAt(0);
  return [
    { name: "meta", key: meta, destination: register },
    { name: "cmp", source: register, operator: compare.equal, data: { value: Uint8Array.of(value) } },
  ];
}

function statementExpressions(
  statement: Statement,
  setIds: SetIds,
  sets: ConstantSet[],
  known: Set<string>,
): Expression[] {
  const source = registerAt(0);
  if ("inSet" in statement) {
    const set = statement.inSet;
    return [...loads(statement.match), { name: "lookup", source, set, setId: setIds.of(set) }];
  }
  if ("notInSet" in statement) {
    const set = statement.notInSet;
    return [...loads(statement.match), { name: "lookup", source, set, setId: setIds.of(set), flags: lookupInverted }];
  }
  if ("share" in statement) {
    const { of, inSet: set, perSecond, burst } = statement.share;
    const data = { rate: BigInt(perSecond), burst, ...limitPackets };
    const update = { operation: dynsetUpdate, source, set, setId: setIds.of(set) };
    return [...loads(of), { name: "dynset", ...update, expression: { name: "limit", data } }];
  }
  if ("byMap" in statement) {
    const set = statement.byMap;
    const lookup = { source, set, destination: verdictRegister, setId: setIds.of(set) };
    return [...loads(statement.match), { name: "lookup", ...lookup }];
  }
  if ("oneOf" in statement || "verdicts" in statement) {
    const field = fields[statement.match];
    const setId = setIds.next();
    const loaded = loads([statement.match]);
    if ("oneOf" in statement) {
      sets.push({ id: setId, field, ...constantElements(field, statement.oneOf) });
      return [...loaded, { name: "lookup", source, set: anonymousSetName, setId }];
    }
    const elements = constantElements(field, Object.keys(statement.verdicts));
    sets.push({ id: setId, field, ...elements, verdicts: Object.values(statement.verdicts) });
    return [...loaded, { name: "lookup", source, set: anonymousMapName, destination: verdictRegister, setId }];
  }
  if ("match" in statement) return comparison(statement, known);
  if ("icmp" in statement) {
    const value = Uint8Array.of(statement.type, ...(statement.code === undefined ? [] : [statement.code]));
    const load: Expression = {
      name: "payload",
      destination: source,
      base: payloadBase.transport,
      offset: 0,
      length: value.length,
    };
    return [load, compared(compare.equal, value)];
  }
  return effect(statement);
}

/** One field against values that stand in the rule itself. */
function comparison(statement: Comparison, known: Set<string>): Expression[] {
  const source = registerAt(0);
  const field = fields[statement.match];
  const loaded = loads([statement.match]);
  if ("is" in statement) {
    const { is } = statement;
    const value = typeof is === "number" ? numberKey(field, is) : namedKey(field, is);
    if ("meta" in field.load && value.length === 1) {
      const fact = `${field.load.meta}=${value[0]}`;
      if (known.has(fact)) return [];
      known.add(fact);
    }
    return [...loaded, compared(compare.equal, value)];
  }
  if ("from" in statement) {
    const ordered = { ...field, byteOrder: byteOrder.big };
    const turned = field.byteOrder === byteOrder.host ? [networkOrder(field.lengthBytes)] : [];
    return [
      ...loaded,
      ...turned,
      compared(compare.atLeast, numberKey(ordered, statement.from)),
      compared(compare.atMost, numberKey(ordered, statement.to)),
    ];
  }
  if ("has" in statement)
    return [
      ...loaded,
      masked(namedKey(field, statement.has)),
      compared(compare.unequal, Buffer.alloc(field.lengthBytes)),
    ];
  if ("among" in statement) {
    const mask = Buffer.alloc(field.lengthBytes);
    for (const name of statement.among)
      for (const [at, byte] of namedKey(field, name).entries()) mask[at] = (mask[at] ?? 0) | byte;
    return [...loaded, masked(mask), compared(compare.unequal, namedKey(field, statement.isNot))];
  }
  if ("within" in statement) {
    const { within } = statement;
    const mask = maskBytes(within);
    const isWhole = mask.every((byte) => byte === 0xff);
    return [...loaded, ...(isWhole ? [] : [masked(mask)]), compared(compare.equal, ipBytes(cidrBase(within)))];
  }
  const value = Buffer.from(statement.prefix);
  assert(value.length > 0 && value.length < field.lengthBytes, "a prefix is shorter than its field");
  return [...loaded, { name: "cmp", source, operator: compare.equal, data: { value } }];
}

/** The bits of an address that say whether it is of the network. */
function maskBytes(network: Cidr): Uint8Array {
  const prefix = cidrPrefix(network);
  return ipBytes(cidrBase(network)).map((_, at) => 0xff & (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * at))));
}

/** What is done, or decided by what is not in the packet. */
function effect(statement: Effect): Expression[] {
  if ("random" in statement) return randomBelow(statement.random);
  if ("masquerade" in statement) return masquerade(statement.masquerade);
  if ("count" in statement) return [{ name: "objref", type: objectCounter, object: statement.count }];
  if ("tally" in statement) return [{ name: "counter", bytes: 0n, packets: 0n }];
  if ("limit" in statement) {
    const { perSecond, burst } = statement.limit;
    return [{ name: "limit", rate: BigInt(perSecond), burst, ...limitPackets }];
  }
  if ("log" in statement) return [{ name: "log", ...statement.log }];
  if ("reject" in statement) return [{ name: "reject", type: rejectWithReset, icmpCode: 0 }];
  return [{ name: "immediate", destination: verdictRegister, data: { verdict: verdictValues(statement) } }];
}

/** A verdict as NFTA_DATA_VERDICT holds it. */
export function verdictValues(verdict: Verdict): { code: number; chain?: string } {
  if ("jump" in verdict) return { code: verdicts.jump >>> 0, chain: verdict.jump };
  if ("goto" in verdict) return { code: verdicts.goto >>> 0, chain: verdict.goto };
  return { code: verdicts[verdict.verdict] >>> 0 };
}

function compared(operator: number, value: Uint8Array): Expression {
  return { name: "cmp", source: registerAt(0), operator, data: { value } };
}

function masked(mask: Uint8Array): Expression {
  const [source, length] = [registerAt(0), mask.length];
  return {
    name: "bitwise",
    source,
    destination: source,
    length,
    mask: { value: mask },
    xor: { value: Buffer.alloc(length) },
  };
}

/** The kernel compares bytes from the left, so a number of this machine is turned into network order first. */
function networkOrder(length: number): Expression {
  const source = registerAt(0);
  return { name: "byteorder", source, destination: source, operation: toNetworkOrder, length, size: length };
}

/** Loads the fields side by side, each at the next multiple of four bytes: the form of a concatenated key. */
function loads(names: readonly FieldName[]): Expression[] {
  let at = 0;
  return names.map((name) => {
    const { load, lengthBytes } = fields[name];
    const destination = registerAt(at);
    at += paddedLength(fields[name]);
    if ("meta" in load) return { name: "meta", key: load.meta, destination };
    if ("tracking" in load) return { name: "ct", key: load.tracking, destination };
    if ("fib" in load) return { name: "fib", destination, ...load.fib };
    return { name: "payload", destination, ...load, length: lengthBytes };
  });
}

function randomBelow({ below, outOf }: { below: number; outOf: number }): Expression[] {
  assert(
    below > 0 && below < outOf && outOf < 2 ** 31,
    `${below} of ${outOf} is a chance that is neither none nor all`,
  );
  const [source, value] = [registerAt(0), Buffer.alloc(4)];
  value.writeUInt32BE(below);
  return [
    { name: "numgen", destination: source, modulus: outOf, type: numberRandom, offset: 0 },
    networkOrder(value.length),
    compared(compare.less, value),
  ];
}

function masquerade({ ports, fullyRandom }: MasqueradeStatement): Expression[] {
  const random = fullyRandom ? natFlag.fullyRandom : 0;
  if (ports === undefined) return [{ name: "masq", flags: random === 0 ? undefined : random }];
  const port = (destination: number, number: number): Expression => {
    const value = Buffer.alloc(2);
    value.writeUInt16BE(number);
    return { name: "immediate", destination, data: { value } };
  };
  const [portMin, portMax] = [registerAt(0), ports.first === ports.last ? registerAt(0) : registerAt(16)];
  const loaded = [port(portMin, ports.first), ...(portMax === portMin ? [] : [port(portMax, ports.last)])];
  return [...loaded, { name: "masq", flags: natFlag.portsGiven | random, portMin, portMax }];
}

/** The number of the register at a byte offset: 1-4 are 16 bytes long, 8-23 are the same memory in steps of 4 (enum nft_registers). */
function registerAt(offsetBytes: number): number {
  assert(offsetBytes % 4 === 0 && offsetBytes < 64, `a register begins at byte ${offsetBytes}`);
  return offsetBytes % 16 === 0 ? 1 + offsetBytes / 16 : 8 + offsetBytes / 4;
}
