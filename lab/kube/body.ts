// What a client sent, before any rule of its kind: is it such an object at all, and which of its metadata counts.

import { type Resource, apiVersionOf } from "./resource.ts";
import { badRequest } from "./status.ts";
import { type Json, type JsonObject, isObject, objectAt, without } from "./value.ts";

/** Metadata that a client can set or the server sets; everything else is dropped, managedFields too: no write here is tracked by field. */
const metadataForms: Readonly<Record<string, "text" | "number" | "texts" | "list">> = {
  name: "text",
  generateName: "text",
  namespace: "text",
  uid: "text",
  resourceVersion: "text",
  generation: "number",
  creationTimestamp: "text",
  deletionTimestamp: "text",
  deletionGracePeriodSeconds: "number",
  labels: "texts",
  annotations: "texts",
  ownerReferences: "list",
  finalizers: "list",
};

/** @throws Refusal 400 where `body` is no object of the kind */
export function checkBody(resource: Resource, body: JsonObject): void {
  const expected = apiVersionOf(resource);
  const { apiVersion = expected, kind = resource.kind } = body;
  if (!resource.builtIn && (body["apiVersion"] === undefined || body["kind"] === undefined))
    throw badRequest(
      `Object '${body["kind"] === undefined ? "Kind" : "apiVersion"}' is missing in '${JSON.stringify(body).slice(0, 200)}'`,
    );
  if (apiVersion !== expected)
    throw badRequest(
      `the API version in the data (${JSON.stringify(apiVersion)}) does not match the expected API version (${expected})`,
    );
  if (kind !== resource.kind)
    throw badRequest(
      `the kind in the data (${JSON.stringify(kind)}) does not match the expected kind (${resource.kind})`,
    );
  const { metadata = {} } = body;
  if (metadata !== null && !isObject(metadata)) throw badRequest("metadata must be an object");
  for (const [key, value] of Object.entries(metadata ?? {})) {
    const form = metadataForms[key];
    if (value !== null && form !== undefined && !hasForm(value, form))
      throw badRequest(
        `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: metadata.${key} has the wrong type`,
      );
  }
}

function hasForm(value: Json, form: "text" | "number" | "texts" | "list"): boolean {
  if (form === "text") return typeof value === "string";
  if (form === "number") return typeof value === "number";
  if (form === "list") return Array.isArray(value);
  return isObject(value) && Object.values(value).every((each) => typeof each === "string");
}

/** The metadata that counts: known keys that hold something. */
export function metadataOf(body: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(objectAt(body, "metadata")).filter(
      ([key, value]) => metadataForms[key] !== undefined && !isEmpty(value),
    ),
  );
}

function isEmpty(value: Json): boolean {
  if (value === null || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}

/** The rest of the body with kind and version in place. Nulls in built-in kinds are nothing, as in the server's own structs. */
export function cleaned(resource: Resource, body: JsonObject): JsonObject {
  const rest = without(body, "metadata", "apiVersion", "kind");
  const clean = resource.builtIn ? withoutNulls(rest) : rest;
  return { apiVersion: apiVersionOf(resource), kind: resource.kind, metadata: {}, ...(isObject(clean) ? clean : {}) };
}

function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, each]) => (each === null ? [] : [[key, withoutNulls(each)] as const])),
  );
}

export const withMetadata = (object: JsonObject, metadata: JsonObject): JsonObject => ({ ...object, metadata });
