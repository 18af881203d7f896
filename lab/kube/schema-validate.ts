// An object against its schema: types, bounds, lists that are sets or maps, rules; what did not change is not judged anew.

import { isFormat } from "./formats.ts";
import { compiled } from "./schema.ts";
import { brokenRules } from "./schema-rules.ts";
import { type Schema, bound } from "./schema-types.ts";
import { type Cause, wrong } from "./status.ts";
import { type Json, type JsonObject, equal, isObject, listAt, textAt } from "./value.ts";

/** What is wrong with an object. `before` is the object that it replaces. */
export function schemaCauses(object: JsonObject, schema: Schema, before?: JsonObject): Cause[] {
  return valueCauses(object, schema, "", before);
}

function valueCauses(value: Json, schema: Schema, path: string, before: Json | undefined): Cause[] {
  // Ratcheting: a value that was let in once stays in until it is changed.
  if (before !== undefined && equal(value, before)) return [];
  if (value === null && schema.nullable) return [];
  const typeCause = wrongType(value, schema, path);
  if (typeCause !== undefined) return [typeCause];
  const own = [...boundCauses(value, schema, path), ...branchCauses(value, schema, path)];
  const below = Array.isArray(value)
    ? arrayCauses(value, schema, path, before)
    : isObject(value)
      ? objectCauses(value, schema, path, before)
      : [];
  const causes = [...own, ...below];
  // Rules are asked of what has the right form only.
  return causes.length > 0 ? causes : brokenRules(schema, value, before, path);
}

const isInteger = (value: Json): boolean => typeof value === "number" && Number.isInteger(value);

function wrongType(value: Json, { type, intOrString }: Schema, path: string): Cause | undefined {
  if (intOrString)
    return isInteger(value) || typeof value === "string"
      ? undefined
      : wrong.type(
          path,
          typeWord(value),
          `${path} in body must be of type integer,string: ${JSON.stringify(typeWord(value))}`,
        );
  if (type === undefined || isOfType(value, type)) return undefined;
  return wrong.type(
    path,
    typeWord(value),
    `${path} in body must be of type ${type}: ${JSON.stringify(typeWord(value))}`,
  );
}

function isOfType(value: Json, type: string): boolean {
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isObject(value);
  return type === "integer" ? isInteger(value) : typeof value === type;
}

function typeWord(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return isInteger(value) ? "integer" : typeof value;
}

function boundCauses(value: Json, schema: Schema, path: string): Cause[] {
  const causes: Cause[] = [];
  const allowed = listAt(schema.bounds, "enum");
  if (allowed.length > 0 && !allowed.some((each) => equal(each, value)))
    causes.push(
      wrong.unsupported(
        path,
        value,
        allowed.map((each) => (typeof each === "string" ? each : JSON.stringify(each))),
      ),
    );
  if (typeof value === "number") causes.push(...numberCauses(value, schema, path));
  if (typeof value === "string") causes.push(...textCauses(value, schema, path));
  const count = (what: string, have: number): void => {
    const [least, most] = [bound(schema, `min${what}`), bound(schema, `max${what}`)];
    if (most !== undefined && have > most) causes.push(wrong.tooMany(path, have, most));
    if (least !== undefined && have < least)
      causes.push(wrong.value(path, have, `${path} in body should have at least ${least} ${what.toLowerCase()}`));
  };
  if (Array.isArray(value)) count("Items", value.length);
  else if (isObject(value)) count("Properties", Object.keys(value).length);
  return causes;
}

function numberCauses(value: number, schema: Schema, path: string): Cause[] {
  const causes: Cause[] = [];
  const [least, most, step] = [bound(schema, "minimum"), bound(schema, "maximum"), bound(schema, "multipleOf")];
  const [above, below] = [schema.bounds["exclusiveMinimum"] === true, schema.bounds["exclusiveMaximum"] === true];
  const refuse = (words: string): number => causes.push(wrong.value(path, value, `${path} in body should be ${words}`));
  if (least !== undefined && (above ? value <= least : value < least))
    refuse(`greater than ${above ? "" : "or equal to "}${least}`);
  if (most !== undefined && (below ? value >= most : value > most))
    refuse(`less than ${below ? "" : "or equal to "}${most}`);
  if (step !== undefined && value % step !== 0) refuse(`a multiple of ${step}`);
  const format = textAt(schema.bounds, "format");
  if (format === "int32" && (value > 2 ** 31 - 1 || value < -(2 ** 31))) refuse("of type int32");
  return causes;
}

function textCauses(value: string, schema: Schema, path: string): Cause[] {
  const causes: Cause[] = [];
  const refuse = (words: string): number => causes.push(wrong.value(path, value, `${path} in body ${words}`));
  const length = Array.from(value).length;
  const [least, most] = [bound(schema, "minLength"), bound(schema, "maxLength")];
  if (most !== undefined && length > most) causes.push(wrong.tooLong(path, most));
  if (least !== undefined && length < least) refuse(`should be at least ${least} chars long`);
  const pattern = textAt(schema.bounds, "pattern");
  if (pattern !== undefined && compiled(pattern)?.test(value) !== true) refuse(`should match '${pattern}'`);
  const format = textAt(schema.bounds, "format");
  if (format !== undefined && !isFormat(format, value))
    causes.push(wrong.type(path, value, `${path} in body must be of type ${format}: ${JSON.stringify(value)}`));
  return causes;
}

/** allOf, anyOf, oneOf and not: whole schemas beside the own one. */
function branchCauses(value: Json, { allOf, anyOf, oneOf, not }: Schema, path: string): Cause[] {
  const holds = (each: Schema): boolean => valueCauses(value, each, path, undefined).length === 0;
  const causes = allOf.flatMap((each) => valueCauses(value, each, path, undefined));
  const refuse = (words: string): number =>
    causes.push(wrong.value(path, typeWord(value), `${path === "" ? '"" ' : path} ${words}`));
  if (anyOf.length > 0 && !anyOf.some(holds)) refuse("must validate at least one schema (anyOf)");
  if (oneOf.length > 0 && oneOf.filter(holds).length !== 1) refuse("must validate one and only one schema (oneOf)");
  if (not !== undefined && holds(not)) refuse("must not validate the schema (not)");
  return causes;
}

function objectCauses(value: JsonObject, schema: Schema, path: string, before: Json | undefined): Cause[] {
  const missing = schema.required.filter((key) => !Object.hasOwn(value, key));
  const below = (key: string): string => (path === "" ? key : `${path}.${key}`);
  return [
    ...missing.map((key) => wrong.missing(below(key))),
    ...Object.entries(value).flatMap(([key, each]) => {
      const property = schema.properties.get(key) ?? schema.additional;
      if (property === undefined || (path === "" && key === "metadata")) return [];
      const old = isObject(before) && Object.hasOwn(before, key) ? before[key] : undefined;
      return valueCauses(each, property, schema.properties.has(key) ? below(key) : `${path}[${key}]`, old);
    }),
  ];
}

function arrayCauses(value: readonly Json[], schema: Schema, path: string, before: Json | undefined): Cause[] {
  const { items } = schema;
  const old = oldItems(schema, before);
  return [
    ...duplicates(value, schema).map((index) => wrong.duplicate(`${path}[${index}]`, shownKey(value[index], schema))),
    ...(items === undefined
      ? []
      : value.flatMap((each, index) => valueCauses(each, items, `${path}[${index}]`, old.get(keyOf(each, schema))))),
  ];
}

/** The items before by what identifies them; of a list that is no map, none can be told. */
function oldItems(schema: Schema, before: Json | undefined): Map<string, Json> {
  if (schema.listType !== "map" || !Array.isArray(before)) return new Map();
  return new Map(before.map((each) => [keyOf(each, schema), each]));
}

const keyOf = (item: Json, { listType, mapKeys }: Schema): string =>
  JSON.stringify(listType === "map" && isObject(item) ? mapKeys.map((key) => item[key] ?? null) : item);

/** The key of a map's item that stands twice, as the server shows it; of a set, the item. */
function shownKey(item: Json | undefined, { listType, mapKeys }: Schema): Json {
  if (listType !== "map" || !isObject(item)) return item ?? null;
  return Object.fromEntries(mapKeys.flatMap((key) => (item[key] === undefined ? [] : [[key, item[key]] as const])));
}

/** The second place of each item that stands twice where it may not. */
function duplicates(value: readonly Json[], schema: Schema): number[] {
  if (schema.listType === "atomic") return [];
  const seen = new Map<string, number>();
  return value.flatMap((each, index) => {
    const key = keyOf(each, schema);
    const times = (seen.get(key) ?? 0) + 1;
    seen.set(key, times);
    return times === 2 ? [index] : [];
  });
}
