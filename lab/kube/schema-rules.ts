// Rules in CEL: what one may mention is checked when its definition is written, whether it holds when an object is.

import { type CelValue, CelError, CelMap } from "./cel/values.ts";
import { evaluate, unescaped } from "./cel/evaluate.ts";
import { functions } from "./cel/functions.ts";
import { type Node, mentions, parse, partsOf } from "./cel/parse.ts";
import type { CompiledRule, Schema } from "./schema-types.ts";
import { type Cause, wrong } from "./status.ts";
import { type Json, at, isObject, textAt } from "./value.ts";

const reasons = ["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"];

interface Place {
  path: string;
  correlatable: boolean;
  causes: Cause[];
}

/** What is wrong with a rule is added to `causes`, and the rule left out. */
export function compileRules(
  raw: readonly Json[],
  schema: Schema,
  { path, correlatable, causes }: Place,
): CompiledRule[] {
  return raw.flatMap((each, index) => {
    const field = `${path}.x-kubernetes-validations[${index}]`;
    const text = textAt(each, "rule") ?? "";
    const reason = textAt(each, "reason") ?? "FieldValueInvalid";
    if (!reasons.includes(reason)) causes.push(wrong.unsupported(`${field}.reason`, reason, reasons));
    if (at(each, "optionalOldSelf") !== undefined || at(each, "fieldPath") !== undefined)
      causes.push(
        wrong.forbidden(field, "this small API server knows neither optionalOldSelf nor fieldPath; use a real one"),
      );
    try {
      const expression = compileText(text, schema);
      const isTransition = mentions(expression, "oldSelf");
      if (isTransition && !correlatable)
        causes.push(
          wrong.value(`${field}.rule`, text, "oldSelf cannot be used on the uncorrelatable portion of the schema"),
        );
      const [message, messageText] = [textAt(each, "message"), textAt(each, "messageExpression")];
      return [
        {
          text,
          expression,
          reason,
          isTransition,
          ...(message === undefined ? {} : { message }),
          ...(messageText === undefined ? {} : { messageExpression: compileText(messageText, schema) }),
        },
      ];
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      causes.push(wrong.value(`${field}.rule`, text, `compilation failed: ${error.message}`));
      return [];
    }
  });
}

/** Names in sight, each with the schema of what it stands for where that is known. */
type Scope = Readonly<Record<string, Schema | undefined>>;

const operators = new Set(["==", "!=", "<", "<=", ">", ">=", "!", "neg", "+", "-", "*", "/", "%", "&&", "||", "?:"]);

function compileText(text: string, schema: Schema): Node {
  if (text.trim() === "") throw new CelError("the expression is empty");
  const node = parse(text);
  checkNames(node, { self: schema, oldSelf: schema });
  return node;
}

/** Refuses names, functions and fields that are not there. Gives the schema of the value where it can be told. */
function checkNames(node: Node, scope: Scope): Schema | undefined {
  if (node.is === "name") {
    if (!Object.hasOwn(scope, node.name))
      throw new CelError(`undeclared reference to '${node.name}' (in container '')`);
    return scope[node.name];
  }
  if (node.is === "macro") {
    const over = checkNames(node.of, scope);
    const item = over?.type === "array" ? over.items : undefined;
    for (const part of node.body) checkNames(part, { ...scope, [node.variable]: item });
    return node.macro === "filter" ? over : undefined;
  }
  if (node.is === "call" && !operators.has(node.name) && !functions.has(node.name))
    throw new CelError(`undeclared reference to '${node.name}' (in container '')`);
  const [of] = partsOf(node).map((part) => checkNames(part, scope));
  if (node.is === "select" || node.is === "has") return fieldOf(of, unescaped(node.field));
  return node.is === "index" ? (of?.items ?? of?.additional) : undefined;
}

function fieldOf(schema: Schema | undefined, name: string): Schema | undefined {
  if (schema === undefined || schema.type === undefined) return undefined;
  const found = schema.properties.get(name) ?? schema.additional;
  // At the root, kind, apiVersion and metadata are there without being said.
  if (found !== undefined || schema.preserve || ["apiVersion", "kind", "metadata"].includes(name)) return found;
  throw new CelError(`undefined field '${name}'`);
}

/** A JSON value as CEL sees it by its schema. */
export function celOf(value: Json, schema: Schema | undefined): CelValue {
  if (typeof value === "number") {
    const whole = schema?.type === undefined ? Number.isInteger(value) : schema.type === "integer";
    return whole ? BigInt(value) : value;
  }
  if (Array.isArray(value)) return value.map((each) => celOf(each, schema?.items));
  if (!isObject(value)) return value;
  return new CelMap(Object.keys(value), (key) => {
    const each = Object.hasOwn(value, key) ? value[key] : undefined;
    return each === undefined ? undefined : celOf(each, schema?.properties.get(key) ?? schema?.additional);
  });
}

/** The rules of one place that do not hold. `before` is the value there before; undefined where there was none. */
export function brokenRules(schema: Schema, value: Json, before: Json | undefined, path: string): Cause[] {
  if (schema.rules.length === 0) return [];
  const names = { self: celOf(value, schema), ...(before === undefined ? {} : { oldSelf: celOf(before, schema) }) };
  return schema.rules.flatMap((rule) => {
    if (rule.isTransition && before === undefined) return [];
    const shown = typeof value === "object" ? (Array.isArray(value) ? "array" : "object") : value;
    let why: string | undefined;
    try {
      if (evaluate(rule.expression, names) === true) return [];
      why = messageOf(rule, names);
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      why = `rule evaluation error: ${error.message}: evaluating rule: ${rule.text}`;
    }
    return [{ ...wrong.value(path, shown, why), reason: rule.reason }];
  });
}

function messageOf({ messageExpression, message, text }: CompiledRule, names: Record<string, CelValue>): string {
  if (messageExpression !== undefined) {
    try {
      const made = evaluate(messageExpression, names);
      if (typeof made === "string" && made !== "") return made;
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
    }
  }
  return message ?? `failed rule: ${text}`;
}
