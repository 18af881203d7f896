// Structural schemas of CustomResourceDefinitions: read once into a tree, with what makes one unusable.

import { compileRules } from "./schema-rules.ts";
import { type Schema, schemaTypes } from "./schema-types.ts";
import { type Cause, wrong } from "./status.ts";
import { type Json, at, isObject, listAt, objectAt, textAt, textsAt } from "./value.ts";

const boundKeys = [
  "enum",
  "pattern",
  "format",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
  "multipleOf",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "minProperties",
  "maxProperties",
];

/** How deep a schema may nest. */
const depthMax = 60;

interface Reading {
  path: string;
  causes: Cause[];
  depth: number;
  /** False within allOf and the like: no type of its own is needed. */
  structural: boolean;
  /** Whether an older value of what stands here can be found. */
  correlatable: boolean;
}

/** Reads a schema; what is wrong with it is added to `causes`. `path` names it there. */
export function readSchema(raw: Json | undefined, path: string, causes: Cause[]): Schema {
  const schema = read(raw ?? {}, { path, causes, depth: 0, structural: true, correlatable: true });
  if (schema.type !== "object")
    causes.push(wrong.value(`${path}.type`, schema.type ?? "", "must be object at the root"));
  return schema;
}

function read(raw: Json, reading: Reading): Schema {
  const { path, causes, structural, correlatable } = reading;
  const type = schemaTypes.find((each) => each === textAt(raw, "type"));
  const listType = (["atomic", "set", "map"] as const).find((each) => each === textAt(raw, "x-kubernetes-list-type"));
  const below = (field: string, part: Json | undefined, change: Partial<Reading> = {}): Schema => {
    if (reading.depth >= depthMax) causes.push(wrong.value(path, "", `nests deeper than ${depthMax}`));
    if (reading.depth >= depthMax || part === undefined) return read({ type: "object" }, { ...reading, depth: 0 });
    return read(part, { ...reading, path: `${path}.${field}`, depth: reading.depth + 1, ...change });
  };
  const many = (field: string): Schema[] =>
    listAt(raw, field).map((part, index) => below(`${field}[${index}]`, part, { structural: false }));
  const [additional, items, not, initial] = [
    at(raw, "additionalProperties"),
    at(raw, "items"),
    at(raw, "not"),
    at(raw, "default"),
  ];
  const schema: Schema = {
    ...(type === undefined ? {} : { type }),
    properties: new Map(
      Object.entries(objectAt(raw, "properties")).map(([key, part]) => [key, below(`properties[${key}]`, part)]),
    ),
    ...(isObject(additional) ? { additional: below("additionalProperties", additional) } : {}),
    ...(items === undefined
      ? {}
      : { items: below("items", items, { correlatable: correlatable && listType === "map" }) }),
    ...(not === undefined ? {} : { not: below("not", not, { structural: false }) }),
    ...(initial === undefined ? {} : { default: initial }),
    required: textsAt(raw, "required"),
    nullable: at(raw, "nullable") === true,
    preserve: at(raw, "x-kubernetes-preserve-unknown-fields") === true || additional === true,
    intOrString: at(raw, "x-kubernetes-int-or-string") === true,
    listType: listType ?? "atomic",
    mapKeys: textsAt(raw, "x-kubernetes-list-map-keys"),
    rules: [],
    allOf: many("allOf"),
    anyOf: many("anyOf"),
    oneOf: many("oneOf"),
    bounds: Object.fromEntries(
      boundKeys.flatMap((key) => (at(raw, key) === undefined ? [] : [[key, at(raw, key) ?? null] as const])),
    ),
  };
  if (structural) causes.push(...structuralCauses(raw, schema, path));
  const rules = compileRules(listAt(raw, "x-kubernetes-validations"), schema, { path, correlatable, causes });
  return rules.length === 0 ? schema : { ...schema, rules };
}

function structuralCauses(raw: Json, schema: Schema, path: string): Cause[] {
  const causes: Cause[] = [];
  const { type, intOrString, preserve, listType, mapKeys, items, properties } = schema;
  if (type === undefined && !intOrString && !preserve) {
    const given = textAt(raw, "type");
    const field = `${path}.type`;
    causes.push(
      given === undefined
        ? wrong.missing(field, "must not be empty for specified object fields")
        : wrong.unsupported(field, given, schemaTypes),
    );
  }
  if (type === "array" && items === undefined) causes.push(wrong.missing(`${path}.items`, "must be specified"));
  if (properties.size > 0 && at(raw, "additionalProperties") !== undefined)
    causes.push(
      wrong.forbidden(`${path}.additionalProperties`, "additionalProperties and properties are mutual exclusive"),
    );
  if (at(raw, "uniqueItems") === true)
    causes.push(
      wrong.forbidden(
        `${path}.uniqueItems`,
        "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
      ),
    );
  if (listType === "map" && mapKeys.length === 0)
    causes.push(
      wrong.missing(`${path}.x-kubernetes-list-map-keys`, "must not be empty if x-kubernetes-list-type is map"),
    );
  if (listType === "map")
    for (const key of mapKeys) if (items !== undefined) causes.push(...mapKeyCauses(items, key, `${path}.items`));
  const pattern = textAt(schema.bounds, "pattern");
  if (pattern !== undefined && compiled(pattern) === undefined)
    causes.push(wrong.value(`${path}.pattern`, pattern, "must be a valid regular expression"));
  for (const bound of boundKeys.filter((each) => /Length|Items|Properties/.test(each))) {
    const most = at(schema.bounds, bound);
    if (most !== undefined && (typeof most !== "number" || most < 0))
      causes.push(wrong.value(`${path}.${bound}`, most, "must be a whole number"));
  }
  return causes;
}

function mapKeyCauses(items: Schema, key: string, path: string): Cause[] {
  const property = items.properties.get(key);
  if (property === undefined)
    return [
      wrong.value(
        `${path}.properties[${key}]`,
        key,
        "entries of x-kubernetes-list-map-keys must be properties of the items",
      ),
    ];
  return property.default === undefined && !items.required.includes(key)
    ? [
        wrong.missing(
          `${path}.properties[${key}].default`,
          "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
      ]
    : [];
}

const patterns = new Map<string, RegExp | undefined>();
/** Patterns kept; more are compiled anew. */
const patternsMax = 1_000;

/** A schema's pattern; undefined where it is no regular expression. */
export function compiled(pattern: string): RegExp | undefined {
  if (patterns.has(pattern)) return patterns.get(pattern);
  let found: RegExp | undefined;
  try {
    found = new RegExp(pattern, "u");
  } catch {
    found = undefined;
  }
  if (patterns.size < patternsMax) patterns.set(pattern, found);
  return found;
}
