// CEL's syntax: text to a tree. What the language has beyond the rules of a CRD (bytes, types, optional values) is refused by name.

import { unreachable } from "../../../src/base/assert.ts";
import { CelError } from "./values.ts";

export type Node =
  | { is: "literal"; value: null | boolean | bigint | number | string }
  | { is: "name"; name: string }
  | { is: "select"; of: Node; field: string }
  | { is: "has"; of: Node; field: string }
  | { is: "index"; of: Node; at: Node }
  | { is: "call"; name: string; of?: Node; args: readonly Node[] }
  | { is: "macro"; macro: Macro; of: Node; variable: string; body: readonly Node[] }
  | { is: "list"; items: readonly Node[] }
  | { is: "map"; entries: readonly (readonly [Node, Node])[] };

const macros = ["all", "exists", "exists_one", "filter", "map"] as const;
export type Macro = (typeof macros)[number];
const isMacro = (name: string): name is Macro => macros.some((each) => each === name);

/** How deep an expression may nest. */
const depthMax = 60;
/** Longer ones are refused (apiextensions has no limit of its own, etcd has). */
const textLenMax = 16_384;

const tokenPattern =
  /\s*(?:(\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|0x[0-9a-fA-F]+|\d+)(u?)|(r?)("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|([A-Za-z_][A-Za-z0-9_]*)|(\|\||&&|==|!=|<=|>=|[-+*/%!<>?:.,()[\]{}]))/y;

interface Token {
  kind: "number" | "word" | "text" | "sign" | "end";
  text: string;
  raw?: boolean;
}

function tokensOf(text: string): Token[] {
  if (text.length > textLenMax) throw new CelError(`longer than ${textLenMax} characters`);
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  tokenPattern.lastIndex = 0;
  while (tokenPattern.lastIndex < end) {
    const from = tokenPattern.lastIndex;
    const match = tokenPattern.exec(text);
    if (match === null)
      throw new CelError(`Syntax error: token recognition error at: '${text.slice(from, from + 10).trim()}'`);
    const [, number, unsigned, raw, quoted, word, sign] = match;
    if (unsigned === "u") throw new CelError("unsigned integers are not supported here");
    if (number !== undefined) tokens.push({ kind: "number", text: number });
    else if (word !== undefined) tokens.push({ kind: "word", text: word });
    else if (quoted !== undefined) tokens.push({ kind: "text", text: quoted, raw: raw === "r" });
    else tokens.push({ kind: "sign", text: sign ?? "" });
  }
  tokens.push({ kind: "end", text: "<EOF>" });
  return tokens;
}

const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" };

function unquoted({ text, raw }: Token): string {
  const inner = text.slice(1, -1);
  if (raw === true) return inner;
  return inner.replaceAll(/\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)/g, (_, code: string) => {
    if (code.length > 1) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    return escapes[code] ?? code;
  });
}

/** Operators from the loosest to the tightest. */
const levels: readonly (readonly string[])[] = [
  ["||"],
  ["&&"],
  ["==", "!=", "<", "<=", ">", ">=", "in"],
  ["+", "-"],
  ["*", "/", "%"],
];

/** @throws CelError */
export function parse(text: string): Node {
  const tokens = tokensOf(text);
  let next = 0;
  let depth = 0;
  const peek = (): Token => tokens[next] ?? { kind: "end", text: "<EOF>" };
  const take = (): Token => {
    const token = peek();
    next += 1;
    return token;
  };
  const isSign = (sign: string): boolean => peek().kind === "sign" && peek().text === sign;
  const accept = (sign: string): boolean => {
    if (!isSign(sign)) return false;
    next += 1;
    return true;
  };
  const expect = (sign: string): void => {
    if (!accept(sign)) throw new CelError(`Syntax error: mismatched input '${peek().text}' expecting '${sign}'`);
  };

  function expression(): Node {
    depth += 1;
    if (depth > depthMax) throw new CelError(`nests deeper than ${depthMax}`);
    const condition = binary(0);
    let whole = condition;
    if (accept("?")) {
      const yes = binary(0);
      expect(":");
      whole = { is: "call", name: "?:", args: [condition, yes, expression()] };
    }
    depth -= 1;
    return whole;
  }

  function binary(level: number): Node {
    const operators = levels[level];
    if (operators === undefined) return unary();
    let left = binary(level + 1);
    while (operators.includes(peek().text) && (peek().kind === "sign" || peek().text === "in")) {
      const { text: name } = take();
      left = { is: "call", name, args: [left, binary(level + 1)] };
    }
    return left;
  }

  function unary(): Node {
    if (accept("!")) return { is: "call", name: "!", args: [unary()] };
    if (accept("-")) return { is: "call", name: "neg", args: [unary()] };
    let node = primary();
    for (;;) {
      if (accept(".")) node = member(node);
      else if (accept("[")) {
        node = { is: "index", of: node, at: expression() };
        expect("]");
      } else return node;
    }
  }

  function member(of: Node): Node {
    const { kind, text: field } = take();
    if (kind !== "word") throw new CelError(`Syntax error: mismatched input '${field}' expecting an identifier`);
    if (!accept("(")) return { is: "select", of, field };
    const args = list(")");
    if (!isMacro(field)) return { is: "call", name: field, of, args };
    const [variable, ...body] = args;
    const bodies = field === "map" ? [1, 2] : [1];
    if (variable?.is !== "name" || !bodies.includes(body.length))
      throw new CelError(`${field}() takes the name of a variable and an expression`);
    return { is: "macro", macro: field, of, variable: variable.name, body };
  }

  function list(end: string): Node[] {
    const items: Node[] = [];
    while (!accept(end)) {
      if (items.length > 0) {
        expect(",");
        if (accept(end)) break;
      }
      items.push(expression());
    }
    return items;
  }

  function primary(): Node {
    const token = take();
    if (token.kind === "number") return { is: "literal", value: numberOf(token.text) };
    if (token.kind === "text") return { is: "literal", value: unquoted(token) };
    if (token.kind === "word") return word(token.text);
    if (token.text === "(") {
      const inner = expression();
      expect(")");
      return inner;
    }
    if (token.text === "[") return { is: "list", items: list("]") };
    if (token.text === "{") return map();
    throw new CelError(`Syntax error: mismatched input '${token.text}'`);
  }

  function word(name: string): Node {
    if (name === "true" || name === "false") return { is: "literal", value: name === "true" };
    if (name === "null") return { is: "literal", value: null };
    if (!accept("(")) return { is: "name", name };
    const args = list(")");
    if (name !== "has") return { is: "call", name, args };
    const [only] = args;
    if (args.length !== 1 || only?.is !== "select") throw new CelError("invalid argument to has() macro");
    return { is: "has", of: only.of, field: only.field };
  }

  function map(): Node {
    const entries: [Node, Node][] = [];
    while (!accept("}")) {
      if (entries.length > 0) expect(",");
      const key = expression();
      expect(":");
      entries.push([key, expression()]);
    }
    return { is: "map", entries };
  }

  const whole = expression();
  if (peek().kind !== "end") throw new CelError(`Syntax error: extraneous input '${peek().text}'`);
  return whole;
}

const numberOf = (text: string): bigint | number =>
  /^(?:0x[0-9a-fA-F]+|\d+)$/.test(text) ? BigInt(text) : Number(text);

/** The parts of a node that are expressions themselves. */
export function partsOf(node: Node): readonly Node[] {
  switch (node.is) {
    case "literal":
    case "name":
      return [];
    case "select":
    case "has":
      return [node.of];
    case "index":
      return [node.of, node.at];
    case "call":
      return node.of === undefined ? node.args : [node.of, ...node.args];
    case "macro":
      return [node.of, ...node.body];
    case "list":
      return node.items;
    case "map":
      return node.entries.flat();
    default:
      return unreachable(node, "expression");
  }
}

/** True where an expression looks at a name. */
export function mentions(node: Node, name: string): boolean {
  return node.is === "name" ? node.name === name : partsOf(node).some((part) => mentions(part, name));
}
