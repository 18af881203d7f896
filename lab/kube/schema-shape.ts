// What a schema makes of an object before it is judged: unknown fields go, defaults come.

import type { Schema } from "./schema-types.ts";
import { type Json, type JsonObject, clone, isObject } from "./value.ts";

/** Fields of the root that need no schema. */
const rootFields = new Set(["apiVersion", "kind", "metadata"]);

/** Cuts off what `schema` does not know, in place. Gives the paths. */
export function prune(object: JsonObject, schema: Schema): string[] {
  const gone: string[] = [];
  pruneObject(object, schema, "", gone);
  return gone;
}

function pruneObject(object: JsonObject, schema: Schema, path: string, gone: string[]): void {
  for (const [key, value] of Object.entries(object)) {
    if (path === "" && rootFields.has(key)) continue;
    const here = path === "" ? key : `${path}.${key}`;
    const property = schema.properties.get(key) ?? schema.additional;
    if (property !== undefined) pruneValue(value, property, here, gone);
    else if (!schema.preserve) {
      delete object[key];
      gone.push(here);
    }
  }
}

function pruneValue(value: Json, schema: Schema, path: string, gone: string[]): void {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined) value.forEach((each, index) => pruneValue(each, items, `${path}[${index}]`, gone));
  } else if (isObject(value)) pruneObject(value, schema, path, gone);
}

/** Fills in defaults, in place; a null that the schema does not allow counts as absent where there is a default. */
export function fillDefaults(value: Json, schema: Schema): void {
  if (Array.isArray(value)) {
    for (const each of schema.items === undefined ? [] : value)
      if (schema.items !== undefined) fillDefaults(each, schema.items);
    return;
  }
  if (!isObject(value)) return;
  for (const [key, property] of schema.properties) {
    const absent = !Object.hasOwn(value, key) || (value[key] === null && !property.nullable);
    if (absent && property.default !== undefined) value[key] = clone(property.default);
    const found = Object.hasOwn(value, key) ? value[key] : undefined;
    if (found !== undefined) fillDefaults(found, property);
  }
  if (schema.additional !== undefined)
    for (const [key, each] of Object.entries(value))
      if (!schema.properties.has(key)) fillDefaults(each, schema.additional);
}
