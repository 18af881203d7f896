// One request on objects: what its route asks for, done on the store, and the answer as bytes.

import { type Call, readJson } from "./call.ts";
import { type DeleteOptions, readDeleteOptions, remove } from "./deletes.ts";
import { type Page, encodePage, list, readSelection, selects } from "./list.ts";
import { jsonPatch, mergePatch } from "./patch.ts";
import { type Resource, keyOf, shelfOf } from "./resource.ts";
import { unreachable } from "../../src/base/assert.ts";
import { type Answer, jsonAnswer } from "./answer.ts";
import { answerReview } from "./reviews.ts";
import type { Route } from "./route.ts";
import type { ApiState } from "./state.ts";
import { badRequest, invalid, methodNotAllowed, NoSuchPath, notFound, unsupportedMedia, wrong } from "./status.ts";
import type { Stored } from "./store.ts";
import { strategicMerge } from "./strategic.ts";
import { table, tableOfPage, wantsTable } from "./table.ts";
import { type Json, type JsonObject, isObject, textAt } from "./value.ts";
import { type Update, type WriteOptions, type Written, create, update } from "./writes.ts";

/** Carries out everything but watches. @throws Refusal */
export function handle(state: ApiState, call: Call): Answer {
  const { route } = call;
  const { resource, subresource } = route;
  const review = answerReview(state, call);
  if (review !== undefined) return review;
  if (subresource !== undefined && !(subresource === "status" && resource.hasStatus)) throw new NoSuchPath();
  switch (route.verb) {
    case "get":
      return one(call, found(state, route));
    case "list":
      return page(call, list(state.store, resource, route.namespace, route.query));
    case "create":
      return written(call, create(state.store, route, bodyObject(call), writeOptions(route.query)));
    case "update":
    case "patch":
      return written(call, update(state.store, route, readUpdate(call), writeOptions(route.query)));
    case "delete":
      return deletion(state, call);
    case "deletecollection":
      return collectionDeletion(state, call);
    case "watch":
      throw methodNotAllowed(); // served elsewhere
    default:
      return unreachable(route.verb, "verb");
  }
}

type Found = Pick<Stored, "object" | "encoded">;

function found({ store }: ApiState, { resource, namespace, name = "" }: Route): Found {
  const stored = store.get(shelfOf(resource), keyOf(namespace, name));
  if (stored === undefined) throw notFound(resource, name);
  return stored;
}

function one({ route, accept }: Pick<Call, "route" | "accept">, { object, encoded }: Found): Answer {
  if (!wantsTable(accept)) return { code: 200, body: encoded() };
  const metadata = { resourceVersion: textAt(object, "metadata", "resourceVersion") ?? "" };
  const includeObject = route.query.get("includeObject") ?? "Metadata";
  return jsonAnswer(200, table(route.resource, [object], { includeObject, headings: true, metadata }));
}

function page({ route, accept }: Call, each: Page): Answer {
  if (!wantsTable(accept)) return { code: 200, body: encodePage(route.resource, each) };
  return jsonAnswer(200, tableOfPage(route.resource, each, route.query.get("includeObject") ?? "Metadata"));
}

function written(call: Call, { created, object, stored, warnings }: Written): Answer {
  const whole = stored ?? { object, encoded: () => Buffer.from(JSON.stringify(object)) };
  return { ...one(call, whole), code: created ? 201 : 200, warnings };
}

const jsonTypes = new Set(["", "application/json", "*/*"]);

function bodyObject(call: Call): JsonObject {
  const { contentType } = call;
  if (!jsonTypes.has(contentType))
    throw unsupportedMedia(
      `the body of the request was in an unknown format - accepted media types include: application/json (this server reads no ${contentType})`,
    );
  const body = readJson(call);
  if (!isObject(body)) throw badRequest("the body of the request must be an object in JSON");
  return body;
}

const unknownFieldRules = new Map<string, WriteOptions["unknownFields"]>([
  ["", "warn"],
  ["Warn", "warn"],
  ["Ignore", "ignore"],
  ["Strict", "refuse"],
]);

/** @throws Refusal 422 for values that the server does not know */
function writeOptions(query: URLSearchParams): WriteOptions {
  const kind = { group: "meta.k8s.io", kind: "CreateOptions" };
  const dryRun = query.getAll("dryRun").filter((each) => each !== "");
  const odd = dryRun.filter((each) => each !== "All");
  if (odd.length > 0)
    throw invalid(
      kind,
      "",
      odd.map((each) => wrong.unsupported("dryRun", each, ["All"])),
    );
  const fieldValidation = query.get("fieldValidation") ?? "Warn";
  const unknownFields = unknownFieldRules.get(fieldValidation);
  if (unknownFields === undefined)
    throw invalid(kind, "", [wrong.unsupported("fieldValidation", fieldValidation, ["", "Ignore", "Strict", "Warn"])]);
  return { dryRun: dryRun.length > 0, unknownFields };
}

function readUpdate(call: Call): Update {
  const { route, contentType } = call;
  const { name = "", verb, resource } = route;
  const subresource = route.subresource === undefined ? undefined : "status";
  if (verb === "update") {
    const object = bodyObject(call);
    return { name, subresource, put: true, change: () => object };
  }
  if (contentType === applyType || contentType === "application/apply-patch+cbor")
    throw unsupportedMedia("this small API server has no server-side apply: use a merge patch, or a real API server");
  const patch = readJson(call);
  if (patch === undefined) throw badRequest("a patch needs a body");
  return { name, subresource, put: false, change: (before) => patched(resource, contentType, before, patch) };
}

const applyType = "application/apply-patch+yaml";

function patched(resource: Resource, contentType: string, before: JsonObject, patch: Json): JsonObject {
  switch (contentType) {
    case "application/json-patch+json":
      return wholeObject(jsonPatch(before, patch));
    case "application/merge-patch+json":
      if (!isObject(patch)) throw badRequest("a merge patch must be an object");
      return wholeObject(mergePatch(before, patch));
    case "application/strategic-merge-patch+json":
      if (resource.builtIn) return strategicMerge(resource.kind, before, patch);
      throw unsupportedMedia(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
      );
    default:
      throw unsupportedMedia(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
      );
  }
}

function wholeObject(value: Json): JsonObject {
  if (!isObject(value)) throw badRequest("the patch leaves no object");
  return value;
}

/** DeleteOptions in protobuf, as some clients send them, say nothing that the query does not. */
const readDeleteBody = (call: Call): Json | undefined => (jsonTypes.has(call.contentType) ? readJson(call) : undefined);

function deletion({ store }: ApiState, call: Call): Answer {
  const { route } = call;
  const { resource, name = "", query } = route;
  const { gone, object } = remove(store, route, name, readDeleteOptions(query, readDeleteBody(call)));
  if (!gone || resource.deleteGivesObject) return jsonAnswer(200, object);
  const details = {
    name,
    ...(resource.group === "" ? {} : { group: resource.group }),
    kind: resource.plural,
    uid: textAt(object, "metadata", "uid") ?? "",
  };
  return jsonAnswer(200, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details });
}

/** Deletes what is selected; what is gone meanwhile, or may not go, is no error. */
function collectionDeletion({ store }: ApiState, call: Call): Answer {
  const { resource, namespace, query } = call.route;
  const options: DeleteOptions = readDeleteOptions(query, readDeleteBody(call));
  const selection = readSelection(query, resource, namespace);
  const chosen = (store.list(shelfOf(resource)) ?? []).filter((each) => selects(selection, each));
  const before = { version: store.version(), items: chosen };
  for (const { object } of chosen) {
    const target = { resource, namespace: textAt(object, "metadata", "namespace") };
    remove(store, target, textAt(object, "metadata", "name") ?? "", options);
  }
  return page(call, before);
}
