// The value of an expression: names from the caller, macros over lists and maps, and a bound on the work.

import { unreachable } from "../../../src/base/assert.ts";
import { arithmetic, functions } from "./functions.ts";
import type { Node } from "./parse.ts";
import { CelError, CelMap, type CelValue, compareValues, equalValues, isList, typeName } from "./values.ts";

/** Nodes that one evaluation may visit: rules over long lists in lists end with an error instead of a stalled server. */
const visitsMax = 2_000_000;

export type Names = Readonly<Record<string, CelValue>>;

interface Work {
  visits: number;
}

/** @throws CelError where the expression has no value */
export function evaluate(node: Node, names: Names): CelValue {
  return visit(node, names, { visits: 0 });
}

function visit(node: Node, names: Names, work: Work): CelValue {
  work.visits += 1;
  if (work.visits > visitsMax) throw new CelError("operation cancelled: actual cost limit exceeded");
  const value = (part: Node): CelValue => visit(part, names, work);
  switch (node.is) {
    case "literal":
      return node.value;
    case "name": {
      const found = names[node.name];
      if (found === undefined) throw new CelError(`undeclared reference to '${node.name}'`);
      return found;
    }
    case "select":
      return selected(value(node.of), node.field);
    case "has":
      return field(value(node.of), node.field) !== undefined;
    case "index":
      return indexed(value(node.of), value(node.at));
    case "list":
      return node.items.map(value);
    case "map": {
      const entries = new Map(node.entries.map(([key, each]) => [textKey(value(key)), value(each)]));
      return new CelMap([...entries.keys()], (key) => entries.get(key));
    }
    case "macro":
      return macro(node, names, work);
    case "call":
      return call(node, names, work);
    default:
      return unreachable(node, "expression");
  }
}

function textKey(value: CelValue): string {
  if (typeof value === "string") return value;
  throw new CelError(`a key of a map must be a string, not ${typeName(value)}`);
}

const reserved = new Set([
  "true",
  "false",
  "null",
  "in",
  "as",
  "break",
  "const",
  "continue",
  "else",
  "for",
  "function",
  "if",
  "import",
  "let",
  "loop",
  "package",
  "namespace",
  "return",
  "var",
  "void",
  "while",
]);

/** Property names that are no identifiers are written with escapes: "__namespace__", "a__dash__b". */
export function unescaped(name: string): string {
  const word = /^__(.+)__$/.exec(name)?.[1];
  if (word !== undefined && reserved.has(word)) return word;
  return name
    .replaceAll("__dash__", "-")
    .replaceAll("__dot__", ".")
    .replaceAll("__slash__", "/")
    .replaceAll("__underscores__", "__");
}

function field(of: CelValue, name: string): CelValue | undefined {
  if (of instanceof CelMap) return of.get(unescaped(name));
  throw new CelError(`no such overload: ${typeName(of)}.${name}`);
}

function selected(of: CelValue, name: string): CelValue {
  const found = field(of, name);
  if (found === undefined) throw new CelError(`no such key: ${unescaped(name)}`);
  return found;
}

function indexed(of: CelValue, at: CelValue): CelValue {
  const found =
    isList(of) && typeof at === "bigint"
      ? of[Number(at)]
      : of instanceof CelMap && typeof at === "string"
        ? of.get(at)
        : undefined;
  if (found === undefined) throw new CelError(isList(of) ? "index out of bounds" : "no such key");
  return found;
}

type Call = Node & { is: "call" };
type MacroNode = Node & { is: "macro" };

function call(node: Call, names: Names, work: Work): CelValue {
  const { name, of, args } = node;
  const [first, second, third] = args;
  if (first !== undefined && second !== undefined) {
    if (name === "&&" || name === "||") return logic(name === "||", first, second, names, work);
    if (name === "?:" && third !== undefined)
      return visit(truth(visit(first, names, work)) ? second : third, names, work);
  }
  const values = (of === undefined ? args : [of, ...args]).map((each) => visit(each, names, work));
  return apply(name, values);
}

function apply(name: string, values: readonly CelValue[]): CelValue {
  const [left = null, right = null] = values;
  switch (name) {
    case "==":
      return equalValues(left, right);
    case "!=":
      return !equalValues(left, right);
    case "<":
      return compareValues(left, right) < 0;
    case "<=":
      return compareValues(left, right) <= 0;
    case ">":
      return compareValues(left, right) > 0;
    case ">=":
      return compareValues(left, right) >= 0;
    case "!":
      return !truth(left);
    case "neg":
      return arithmetic("-", typeof left === "number" ? 0 : 0n, left);
    case "+":
    case "-":
    case "*":
    case "/":
    case "%":
      return arithmetic(name, left, right);
    default: {
      const known = functions.get(name);
      if (known === undefined) throw new CelError(`undeclared reference to '${name}'`);
      return known(...values);
    }
  }
}

function truth(value: CelValue): boolean {
  if (typeof value === "boolean") return value;
  throw new CelError(`no such overload: ${typeName(value)} where a bool is needed`);
}

/** Either side alone can decide, whatever the other is: an error counts only where the other side does not settle it. */
function logic(decides: boolean, left: Node, right: Node, names: Names, work: Work): boolean {
  let failure: unknown;
  for (const side of [left, right]) {
    try {
      if (truth(visit(side, names, work)) === decides) return decides;
    } catch (error) {
      if (!(error instanceof CelError) || work.visits > visitsMax) throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return !decides;
}

function macro({ macro: kind, of, variable, body }: MacroNode, names: Names, work: Work): CelValue {
  const over = visit(of, names, work);
  const items = isList(over) ? over : over instanceof CelMap ? over.keys : undefined;
  const [first, second] = body;
  if (items === undefined || first === undefined) throw new CelError(`no such overload: ${typeName(over)}.${kind}()`);
  const with_ = (item: CelValue, node: Node): CelValue => visit(node, { ...names, [variable]: item }, work);
  if (kind === "filter") return items.filter((item) => truth(with_(item, first)));
  if (kind === "map") {
    if (second === undefined) return items.map((item) => with_(item, first));
    return items.filter((item) => truth(with_(item, first))).map((item) => with_(item, second));
  }
  if (kind === "exists_one") return items.filter((item) => truth(with_(item, first))).length === 1;
  return quantified(kind === "exists", items, (item) => truth(with_(item, first)));
}

/** As with "&&" and "||", one item that settles it outweighs those that fail. */
function quantified(decides: boolean, items: readonly CelValue[], holds: (item: CelValue) => boolean): boolean {
  let failure: unknown;
  for (const item of items) {
    try {
      if (holds(item) === decides) return decides;
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return !decides;
}
