// Rules as the kernel's expressions: each statement becomes loads, comparisons, lookups and verdicts over registers.

import { assert } from "../../base/assert.ts";
import { type AttributeValues, type Writer, defineAttributes, encodeAttributes, writeNest } from "../netlink/codec.ts";
import { compareEqual, objectCounter, verdictRegister, verdicts } from "./constants.ts";
import { type ConstantElement, type Field, type FieldName, constantElements, fields } from "./fields.ts";
import type { Rule, Statement } from "./ruleset.ts";

const dataValue = defineAttributes({ value: { id: 1, kind: "bytes" } });
const verdictValue = defineAttributes({ code: { id: 1, kind: "be32" }, chain: { id: 2, kind: "string" } });
const dataVerdict = defineAttributes({ verdict: { id: 2, kind: "nested", of: verdictValue } });

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
    data: { id: 2, kind: "nested", of: dataVerdict },
  }),
  objref: defineAttributes({ type: { id: 1, kind: "be32" }, object: { id: 2, kind: "string" } }),
};

type Kinds = typeof expressionAttributes;

/** One step of the kernel's rule machine. */
export type Expression = { [Name in keyof Kinds]: { name: Name } & AttributeValues<Kinds[Name]> }[keyof Kinds];

/** An anonymous set that a rule brings along; within its batch it is known by `id`. */
export interface ConstantSet {
  id: number;
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
    return "meta" in load
      ? { name: "meta", key: load.meta, destination }
      : { name: "payload", destination, ...load, length: lengthBytes };
  });
}

/** The number of the register at a byte offset: 1-4 are 16 bytes long, 8-23 are the same memory in steps of 4 (enum nft_registers). */
function registerAt(offsetBytes: number): number {
  assert(offsetBytes % 4 === 0 && offsetBytes < 64, `a register begins at byte ${offsetBytes}`);
  return offsetBytes % 16 === 0 ? 1 + offsetBytes / 16 : 8 + offsetBytes / 4;
}

function verdict(code: number, chain?: string): Expression {
  return { name: "immediate", destination: verdictRegister, data: { verdict: { code: code >>> 0, chain } } };
}
