// Label and field selectors: read from text as the API server does, then held against objects.

import { badRequest } from "./status.ts";
import { type JsonObject, objectAt, textAt } from "./value.ts";

/** True where an object is selected. */
export type Selector = (object: JsonObject) => boolean;

/** Selects everything; compared by identity to spare the work. */
export const everything: Selector = () => true;

interface Requirement {
  key: string;
  operator: "in" | "notin" | "exists" | "absent" | "gt" | "lt";
  values: ReadonlySet<string>;
}

/** A key and its values are one piece each; parentheses and operators separate them. */
const piecePattern = /\s*(?:([^\s,()=!<>]+)|(==|!=|[=!,()<>]))/y;

/** @throws Refusal 400 where it is no label selector */
export function parseLabelSelector(text: string): Selector {
  const requirements = readRequirements(text);
  if (requirements.length === 0) return everything;
  return (object) => {
    const labels = objectAt(object, "metadata", "labels");
    return requirements.every((each) => matches(each, Object.hasOwn(labels, each.key) ? labels[each.key] : undefined));
  };
}

function matches({ operator, values }: Requirement, value: unknown): boolean {
  const text = typeof value === "string" ? value : undefined;
  if (operator === "exists") return text !== undefined;
  if (operator === "absent") return text === undefined;
  if (operator === "in") return text !== undefined && values.has(text);
  if (operator === "notin") return text === undefined || !values.has(text);
  const [bound = ""] = values;
  if (text === undefined || !/^-?\d+$/.test(text)) return false;
  return operator === "gt" ? Number(text) > Number(bound) : Number(text) < Number(bound);
}

function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  piecePattern.lastIndex = 0;
  const end = text.trimEnd().length;
  while (piecePattern.lastIndex < end) {
    const from = piecePattern.lastIndex;
    const match = piecePattern.exec(text);
    if (match === null) throw unreadable(text, `unexpected text at ${from}`);
    pieces.push(match[1] ?? match[2] ?? "");
  }
  return pieces;
}

const unreadable = (text: string, why: string): Error => badRequest(`unable to parse requirement "${text}": ${why}`);
const isWord = (piece: string | undefined): piece is string =>
  piece !== undefined && !/^(?:==|!=|[=!,()<>])$/.test(piece);

function readRequirements(text: string): Requirement[] {
  const pieces = piecesOf(text);
  const requirements: Requirement[] = [];
  let next = 0;
  const word = (): string => {
    const piece = pieces[next];
    if (!isWord(piece)) throw unreadable(text, `found '${piece ?? ""}', expected: identifier`);
    next += 1;
    return piece;
  };
  /** A value may be empty: "key=". */
  const value = (): string => (isWord(pieces[next]) ? word() : "");
  const valueList = (): Set<string> => {
    if (pieces[next] !== "(") throw unreadable(text, `found '${pieces[next] ?? ""}', expected: '('`);
    const values = new Set<string>();
    do {
      next += 1;
      values.add(value());
    } while (pieces[next] === ",");
    if (pieces[next] !== ")") throw unreadable(text, `found '${pieces[next] ?? ""}', expected: ',' or ')'`);
    next += 1;
    return values;
  };
  const requirement = (): Requirement => {
    if (pieces[next] === "!") {
      next += 1;
      return { key: word(), operator: "absent", values: new Set() };
    }
    const key = word();
    const operator = pieces[next];
    if (operator === undefined || operator === ",") return { key, operator: "exists", values: new Set() };
    next += 1;
    if (operator === "in" || operator === "notin") return { key, operator, values: valueList() };
    if (operator === "=" || operator === "==") return { key, operator: "in", values: new Set([value()]) };
    if (operator === "!=") return { key, operator: "notin", values: new Set([value()]) };
    if (operator === ">" || operator === "<") {
      const bound = word();
      if (!/^-?\d+$/.test(bound)) throw unreadable(text, "for 'Gt', 'Lt' operators, the value must be an integer");
      return { key, operator: operator === ">" ? "gt" : "lt", values: new Set([bound]) };
    }
    throw unreadable(text, `found '${operator}', expected: in, notin, =, ==, !=, gt, lt`);
  };

  while (next < pieces.length) {
    requirements.push(requirement());
    if (next === pieces.length) break;
    if (pieces[next] !== ",") throw unreadable(text, `found '${pieces[next] ?? ""}', expected: ',' or 'end of string'`);
    next += 1;
    if (next === pieces.length) throw unreadable(text, "found '', expected: identifier after ','");
  }
  return requirements;
}

/** Field paths of a kind that can be selected on, with what an object has there. */
export type SelectableFields = Readonly<Record<string, (object: JsonObject) => string>>;

const ownFields: SelectableFields = {
  "metadata.name": (object) => textAt(object, "metadata", "name") ?? "",
  "metadata.namespace": (object) => textAt(object, "metadata", "namespace") ?? "",
};

/** A field that must have one value: a watch that asks for it is told only of what has it, or had it. */
export interface FieldEquals {
  path: string;
  read: (object: JsonObject) => string;
  value: string;
}

export interface FieldSelector {
  matches: Selector;
  /** One of the fields that must be equal, where there is one. */
  equals?: FieldEquals;
}

/** @throws Refusal 400 where it is no field selector, or names a field that objects of the kind are not selected on */
export function parseFieldSelector(text: string, fields: SelectableFields, namespaced: boolean): FieldSelector {
  if (text === "") return { matches: everything };
  const terms = text.split(",").map((term) => {
    const match = /^([^=!]+)(!=|==|=)(.*)$/.exec(term);
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, path = "", operator, value = ""] = match;
    const known = path === "metadata.namespace" && !namespaced ? undefined : (fields[path] ?? ownFields[path]);
    if (known === undefined) throw badRequest(`field label not supported: ${path}`);
    return { path, known, wanted: operator !== "!=", value: value.replaceAll(/\\([\\,=])/g, "$1") };
  });
  const matches: Selector = (object) => terms.every(({ known, wanted, value }) => (known(object) === value) === wanted);
  const first = terms.find(({ wanted }) => wanted);
  return first === undefined
    ? { matches }
    : { matches, equals: { path: first.path, read: first.known, value: first.value } };
}
