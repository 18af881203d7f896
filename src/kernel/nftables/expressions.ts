// Rules as the kernel's expressions: each statement becomes loads, comparisons, lookups and verdicts over registers.

import { assert } from "../../base/assert.ts";
import { type AttributeValues, type Writer, defineAttributes, encodeAttributes, writeNest } from "../netlink/codec.ts";
import {
  compareEqual,
  compareLess,
  natFlag,
  numberRandom,
  objectCounter,
  toNetworkOrder,
  verdictRegister,
  verdicts,
} from "./constants.ts";
import { type ConstantElement, type Field, type FieldName, constantElements, fields, namedKey } from "./fields.ts";
import type { MasqueradeStatement, Rule, Statement } from "./ruleset.ts";

const dataValue = defineAttributes({ value: { id: 1, kind: "bytes" } });
const verdictValue = defineAttributes({ code: { id: 1, kind: "be32" }, chain: { id: 2, kind: "string" } });
const dataAny = defineAttributes({
  value: { id: 1, kind: "bytes" },
  verdict: { id: 2, kind: "nested", of: verdictValue },
});

/** The attributes of each expression that rules of ours use, under the kernel's name of it. */
const expressionAttributes = {
  meta: defineAttributes({ key: { id: 2, kind: "be32" }, destination: { id: 1, kind: "be32" } }),
  payload: defineAttributes({
    destination: { id: 1, kind: "be32" },
    base: { id: 2, kind: "be32" },
    offset: { id: 3, kind: "be32" },
    length: { id: 4, kind: "be32" },
  }),
  cmp: defineAttributes({
    source: { id: 1, kind: "be32" },
    operator: { id: 2, kind: "be32" },
    data: { id: 3, kind: "nested", of: dataValue },
  }),
  lookup: defineAttributes({
    source: { id: 2, kind: "be32" },
    set: { id: 1, kind: "string" },
    setId: { id: 4, kind: "be32" },
  }),
  immediate: defineAttributes({
    destination: { id: 1, kind: "be32" },
    data: { id: 2, kind: "nested", of: dataAny },
  }),
  fib: defineAttributes({
    destination: { id: 1, kind: "be32" },
    result: { id: 2, kind: "be32" },
    flags: { id: 3, kind: "be32" },
  }),
  numgen: defineAttributes({
    destination: { id: 1, kind: "be32" },
    modulus: { id: 2, kind: "be32" },
    type: { id: 3, kind: "be32" },
    offset: { id: 4, kind: "be32" },
  }),
  byteorder: defineAttributes({
    source: { id: 1, kind: "be32" },
    destination: { id: 2, kind: "be32" },
    operation: { id: 3, kind: "be32" },
    length: { id: 4, kind: "be32" },
    size: { id: 5, kind: "be32" },
  }),
  masq: defineAttributes({
    flags: { id: 1, kind: "be32" },
    portMin: { id: 2, kind: "be32" },
    portMax: { id: 3, kind: "be32" },
  }),
  objref: defineAttributes({ type: { id: 1, kind: "be32" }, object: { id: 2, kind: "string" } }),
};

type Kinds = typeof expressionAttributes;

/** One step of the kernel's rule machine. */
export type Expression = { [Name in keyof Kinds]: { name: Name } & AttributeValues<Kinds[Name]> }[keyof Kinds];

/** A set that keeps what it holds: within its batch it is known by `id`. */
export interface ConstantSet {
  id: number;
  /** Absent where a rule brings it along. */
  name?: string;
  field: Field;
  interval: boolean;
  elements: readonly ConstantElement[];
}

/** The name under which a rule refers to an anonymous set; the kernel puts a number for "%d". */
export const anonymousSetName = "__set%d";

/** What numbers sets within a batch, so that rules can refer to sets made in the same batch. */
export interface SetIds {
  /** The number of a named set. */
  of(name: string): number;
  /** A number for a set without a name. */
  next(): number;
}

/** The expressions of `rule`, and the anonymous sets that must be made before it. */
export function ruleExpressions(rule: Rule, setIds: SetIds): { expressions: Expression[]; sets: ConstantSet[] } {
  const sets: ConstantSet[] = [];
  const known = new Set<string>(); // what this rule has already compared, so that it is compared once
  const expressions = rule.flatMap((statement) => [
    ...matchedFields(statement).flatMap((name) => requirement(fields[name], known)),
    ...statementExpressions(statement, setIds, sets),
  ]);
  return { expressions, sets };
}

/** Appends the expressions as a list of name and data, as NFTA_RULE_EXPRESSIONS holds it. */
export function writeExpressions(writer: Writer, expressions: readonly Expression[]): void {
  for (const { name, ...data } of expressions) {
    writeNest(writer, 1, () => {
      encodeAttributes(writer, namedExpression, { name });
      writeNest(writer, 2, () => encodeAttributes(writer, expressionAttributes[name], data));
    });
  }
}

const namedExpression = defineAttributes({ name: { id: 1, kind: "string" } });

function matchedFields(statement: Statement): readonly FieldName[] {
  if (!("match" in statement)) return [];
  return typeof statement.match === "string" ? [statement.match] : statement.match;
}

/** "This is an IPv6 packet", before the bytes of an IPv6 header may be read. */
function requirement({ needs }: Field, known: Set<string>): Expression[] {
  if (needs === undefined || known.has(`${needs.meta}=${needs.value}`)) return [];
  known.add(`${needs.meta}=${needs.value}`);
  const register = registerAt(0);
  return [
    { name: "meta", key: needs.meta, destination: register },
    { name: "cmp", source: register, operator: compareEqual, data: { value: Uint8Array.of(needs.value) } },
  ];
}

function statementExpressions(statement: Statement, setIds: SetIds, sets: ConstantSet[]): Expression[] {
  const source = registerAt(0);
  if ("inSet" in statement) {
    const set = statement.inSet;
    return [...loads(statement.match), { name: "lookup", source, set, setId: setIds.of(set) }];
  }
  if ("oneOf" in statement) {
    const field = fields[statement.match];
    const id = setIds.next();
    sets.push({ id, field, ...constantElements(field, statement.oneOf) });
    return [...loads([statement.match]), { name: "lookup", source, set: anonymousSetName, setId: id }];
  }
  if ("is" in statement) {
    const value = namedKey(fields[statement.match], statement.is);
    return [...loads([statement.match]), { name: "cmp", source, operator: compareEqual, data: { value } }];
  }
  if ("random" in statement) return randomBelow(statement.random);
  if ("masquerade" in statement) return masquerade(statement.masquerade);
  if ("prefix" in statement) {
    const value = Buffer.from(statement.prefix);
    assert(
      value.length > 0 && value.length < fields[statement.match].lengthBytes,
      "a prefix is shorter than its field",
    );
    return [...loads([statement.match]), { name: "cmp", source, operator: compareEqual, data: { value } }];
  }
  if ("count" in statement) return [{ name: "objref", type: objectCounter, object: statement.count }];
  if ("jump" in statement) return [verdict(verdicts.jump, statement.jump)];
  return [verdict(verdicts[statement.verdict])];
}

/** Loads the fields side by side, each at the next multiple of four bytes: the form of a concatenated key. */
function loads(names: readonly FieldName[]): Expression[] {
  let at = 0;
  return names.map((name) => {
    const { load, lengthBytes } = fields[name];
    const destination = registerAt(at);
    at += (lengthBytes + 3) & ~3;
    if ("meta" in load) return { name: "meta", key: load.meta, destination };
    if ("fib" in load) return { name: "fib", destination, ...load.fib };
    return { name: "payload", destination, ...load, length: lengthBytes };
  });
}

/** The kernel compares bytes from the left, so the number is turned into network order first. */
function randomBelow({ below, outOf }: { below: number; outOf: number }): Expression[] {
  assert(
    below > 0 && below < outOf && outOf < 2 ** 31,
    `${below} of ${outOf} is a chance that is neither none nor all`,
  );
  const [source, value] = [registerAt(0), Buffer.alloc(4)];
  value.writeUInt32BE(below);
  return [
    { name: "numgen", destination: source, modulus: outOf, type: numberRandom, offset: 0 },
    { name: "byteorder", source, destination: source, operation: toNetworkOrder, length: 4, size: 4 },
    { name: "cmp", source, operator: compareLess, data: { value } },
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

function verdict(code: number, chain?: string): Expression {
  return { name: "immediate", destination: verdictRegister, data: { verdict: { code: code >>> 0, chain } } };
}
