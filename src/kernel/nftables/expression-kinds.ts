// The expressions of the kernel's rule machine as they are on the wire: the attributes of each kind, and a rule's list of them.

import { type AttributeValues, type Writer, defineAttributes, encodeAttributes, writeNest } from "../netlink/codec.ts";

const dataValue = defineAttributes({ value: { id: 1, kind: "bytes" } });
/** NFTA_VERDICT_*. */
const verdictValue = defineAttributes({ code: { id: 1, kind: "be32" }, chain: { id: 2, kind: "string" } });
/** NFTA_DATA_*: a value, or a verdict. */
export const dataAny = defineAttributes({
  value: { id: 1, kind: "bytes" },
  verdict: { id: 2, kind: "nested", of: verdictValue },
});

/** NFTA_COUNTER_*: of the expression, and of a counter with a name. */
export const counterAttributes = defineAttributes({
  bytes: { id: 1, kind: "be64" },
  packets: { id: 2, kind: "be64" },
});

const limitAttributes = defineAttributes({
  rate: { id: 1, kind: "be64" },
  unitSeconds: { id: 2, kind: "be64" },
  burst: { id: 3, kind: "be32" },
  type: { id: 4, kind: "be32" },
  flags: { id: 5, kind: "be32" },
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
    destination: { id: 3, kind: "be32" },
    setId: { id: 4, kind: "be32" },
    flags: { id: 5, kind: "be32" },
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
  ct: defineAttributes({ destination: { id: 1, kind: "be32" }, key: { id: 2, kind: "be32" } }),
  bitwise: defineAttributes({
    source: { id: 1, kind: "be32" },
    destination: { id: 2, kind: "be32" },
    length: { id: 3, kind: "be32" },
    mask: { id: 4, kind: "nested", of: dataValue },
    xor: { id: 5, kind: "nested", of: dataValue },
  }),
  limit: limitAttributes,
  dynset: defineAttributes({
    set: { id: 1, kind: "string" },
    setId: { id: 2, kind: "be32" },
    operation: { id: 3, kind: "be32" },
    source: { id: 4, kind: "be32" },
    /** What each key has of its own: here always a limit. */
    expression: {
      id: 7,
      kind: "nested",
      of: defineAttributes({ name: { id: 1, kind: "string" }, data: { id: 2, kind: "nested", of: limitAttributes } }),
    },
  }),
  log: defineAttributes({
    group: { id: 1, kind: "be16" },
    prefix: { id: 2, kind: "string" },
    snapLen: { id: 3, kind: "be32" },
  }),
  reject: defineAttributes({ type: { id: 1, kind: "be32" }, icmpCode: { id: 2, kind: "u8" } }),
  counter: counterAttributes,
  objref: defineAttributes({ type: { id: 1, kind: "be32" }, object: { id: 2, kind: "string" } }),
};

type Kinds = typeof expressionAttributes;

/** One step of the kernel's rule machine. */
export type Expression = { [Name in keyof Kinds]: { name: Name } & AttributeValues<Kinds[Name]> }[keyof Kinds];

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
