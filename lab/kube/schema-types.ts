// A structural schema as it is after reading: what the parts that use one share.

import type { Node } from "./cel/parse.ts";
import { type Json, type JsonObject, numberAt } from "./value.ts";

export const schemaTypes = ["object", "array", "string", "integer", "number", "boolean"] as const;
export type SchemaType = (typeof schemaTypes)[number];

export interface Schema {
  /** Absent of a schema within allOf, anyOf, oneOf and not, which only narrows. */
  type?: SchemaType;
  properties: ReadonlyMap<string, Schema>;
  /** Of every key that is no property. */
  additional?: Schema;
  items?: Schema;
  required: readonly string[];
  default?: Json;
  nullable: boolean;
  /** Keys that are not known stay. */
  preserve: boolean;
  intOrString: boolean;
  listType: "atomic" | "set" | "map";
  mapKeys: readonly string[];
  rules: readonly CompiledRule[];
  allOf: readonly Schema[];
  anyOf: readonly Schema[];
  oneOf: readonly Schema[];
  not?: Schema;
  /** Bounds, pattern, enum and format, as they stand in the schema. */
  bounds: JsonObject;
}

/** A rule in CEL. */
export interface CompiledRule {
  text: string;
  expression: Node;
  message?: string;
  messageExpression?: Node;
  reason: string;
  /** Looks at the old value, so it is asked only where there is one. */
  isTransition: boolean;
}

/** A bound that is a number. */
export const bound = ({ bounds }: Schema, key: string): number | undefined => numberAt(bounds, key);
