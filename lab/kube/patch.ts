// JSON patch (RFC 6902) and JSON merge patch (RFC 7396) on values.

import { Refusal, badRequest } from "./status.ts";
import { type Json, type JsonObject, clone, equal, isForbiddenKey, isObject, textAt } from "./value.ts";

/** Steps of one JSON patch (apiserver, maxJSONPatchOperations). */
const stepsMax = 10_000;

/** RFC 7396: null removes, objects merge, everything else replaces. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const merged: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  }
  return merged;
}

const unprocessable = (why: string): Refusal =>
  new Refusal(422, "Invalid", `the server rejected our request due to an error in our request: ${why}`, {});

/** @throws Refusal 400 where it is no JSON patch, 422 where a step cannot be made or a test fails */
export function jsonPatch(target: JsonObject, patch: Json): Json {
  if (!Array.isArray(patch)) throw badRequest("json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  if (patch.length > stepsMax)
    throw new Refusal(
      413,
      "RequestEntityTooLarge",
      `The allowed maximum operations in a JSON patch is ${stepsMax}, got ${patch.length}`,
    );
  let document: Json = clone(target);
  for (const step of patch) document = takeStep(document, step);
  return document;
}

function takeStep(document: Json, step: Json): Json {
  if (!isObject(step)) throw badRequest("a step of a JSON patch must be an object");
  const op = textAt(step, "op") ?? "";
  const path = pointer(step["path"]);
  switch (op) {
    case "add":
      return place(document, path, clone(given(step)), "insert");
    case "replace":
      look(document, path);
      return place(document, path, clone(given(step)), "overwrite");
    case "remove":
      return take(document, path);
    case "test":
      if (!equal(found(document, path) ?? null, given(step)))
        throw unprocessable(`testing path /${path.join("/")} failed`);
      return document;
    case "copy":
      return place(document, path, clone(look(document, pointer(step["from"]))), "insert");
    case "move": {
      const from = pointer(step["from"]);
      const value = look(document, from);
      return place(take(document, from), path, value, "insert");
    }
    default:
      throw badRequest(`unexpected operation ${JSON.stringify(step["op"] ?? null)} in a JSON patch`);
  }
}

function given(step: JsonObject): Json {
  const { value } = step;
  if (value === undefined) throw badRequest(`a step of a JSON patch lacks its value: ${JSON.stringify(step)}`);
  return value;
}

/** RFC 6901. */
function pointer(text: Json | undefined): string[] {
  if (typeof text !== "string" || (text !== "" && !text.startsWith("/")))
    throw badRequest(`${JSON.stringify(text ?? null)} is no JSON pointer`);
  const keys = text
    .split("/")
    .slice(1)
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  if (keys.some(isForbiddenKey)) throw badRequest(`${JSON.stringify(text)} names no field`);
  return keys;
}

function found(document: Json | undefined, path: readonly string[]): Json | undefined {
  let current = document;
  for (const key of path) {
    if (Array.isArray(current)) current = /^\d+$/.test(key) ? current[Number(key)] : undefined;
    else current = isObject(current) && Object.hasOwn(current, key) ? current[key] : undefined;
  }
  return current;
}

function look(document: Json, path: readonly string[]): Json {
  const value = found(document, path);
  if (value === undefined) throw unprocessable(`there is nothing at /${path.join("/")}`);
  return value;
}

/** `document` is this patch's own copy: it is changed in place. */
function place(document: Json, path: readonly string[], value: Json, how: "insert" | "overwrite"): Json {
  const last = path.at(-1);
  if (last === undefined) return value;
  const parent = found(document, path.slice(0, -1));
  if (Array.isArray(parent)) {
    const index = last === "-" ? parent.length : Number(last);
    if (!/^(?:-|\d+)$/.test(last) || index > parent.length)
      throw unprocessable(`/${path.join("/")} is outside its list`);
    parent.splice(index, how === "insert" ? 0 : 1, value);
  } else if (isObject(parent)) parent[last] = value;
  else throw unprocessable(`/${path.slice(0, -1).join("/")} is neither object nor list`);
  return document;
}

function take(document: Json, path: readonly string[]): Json {
  const last = path.at(-1);
  look(document, path);
  const parent = found(document, path.slice(0, -1));
  if (last === undefined) return null;
  if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else if (isObject(parent)) delete parent[last];
  return document;
}
