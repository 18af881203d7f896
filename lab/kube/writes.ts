// Create, replace and patch: an object's way into the store, in the order in which the API server goes it.

import { randomInt, randomUUID } from "node:crypto";
import { checkBody, cleaned, metadataOf, withMetadata } from "./body.ts";
import { metadataCauses } from "./names.ts";
import { type Resource, keyOf, shelfOf } from "./resource.ts";
import {
  Refusal,
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  invalid,
  notFound,
  staleVersion,
  unexplained,
  wrong,
} from "./status.ts";
import type { Store, Stored } from "./store.ts";
import { type JsonObject, equal, numberAt, objectAt, textAt, textsAt, without } from "./value.ts";

/** The largest object in JSON: what etcd takes by default. */
export const objectSizeMaxBytes = 1_500_000;
/** Tries to find a name that is free after generateName. */
const generatedNamesMax = 8;

export interface Target {
  resource: Resource;
  /** Of namespaced kinds. */
  namespace?: string | undefined;
}

export interface WriteOptions {
  dryRun: boolean;
  /** What becomes of fields that the kind does not know. */
  unknownFields: "ignore" | "warn" | "refuse";
}

export interface Written {
  created: boolean;
  object: JsonObject;
  /** Absent after a dry run. */
  stored?: Stored;
  warnings: string[];
}

export interface Update {
  name: string;
  subresource?: "status" | undefined;
  /** Gives the object as it is to be, from the one that is there; the latter must not be changed. */
  change: (before: JsonObject) => JsonObject;
  /** PUT asks for a resourceVersion where the kind does; a patch has that of the object that it changes. */
  put: boolean;
}

/** RFC 3339 in whole seconds, as metadata has it. */
export const timestamp = (ms = Date.now()): string => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");

/** @throws Refusal */
export function create(
  store: Store,
  { resource, namespace }: Target,
  body: JsonObject,
  options: WriteOptions,
): Written {
  checkBody(resource, body);
  const given = metadataOf(body);
  if (textAt(given, "resourceVersion") !== undefined)
    throw unexplained("resourceVersion should not be set on objects to be created");
  if (namespace !== undefined) {
    if ((textAt(given, "namespace") ?? namespace) !== namespace)
      throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
    checkNamespace(store, resource, namespace, textAt(given, "name") ?? "");
  } else if (textAt(given, "namespace") !== undefined)
    throw badRequest("namespace may not be specified for cluster-scoped objects");

  const shelf = shelfOf(resource);
  const name = freeName(given, (candidate) => store.get(shelf, keyOf(namespace, candidate)) !== undefined);
  const object = withMetadata(cleaned(resource, body), {
    ...without(given, "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion", "namespace"),
    name,
    ...(namespace === undefined ? {} : { namespace }),
    uid: randomUUID(),
    creationTimestamp: timestamp(),
    ...(resource.countsGeneration ? { generation: 1 } : {}),
  });
  resource.rules.prepareCreate?.(object);
  const warnings = shaped(resource, object, options);
  check(resource, name, [...metadataCauses(resource, object, true), ...(resource.rules.validate?.(object) ?? [])]);
  const key = keyOf(namespace, name);
  if (store.get(shelf, key) !== undefined) throw alreadyExists(resource, name);
  return write(store, resource, key, object, { created: true, warnings, dryRun: options.dryRun });
}

/** @throws Refusal */
export function update(store: Store, { resource, namespace }: Target, update: Update, options: WriteOptions): Written {
  const { name, subresource, change, put } = update;
  const key = keyOf(namespace, name);
  const before = store.get(shelfOf(resource), key);
  if (before === undefined) {
    if (!put || !resource.putCreates || subresource !== undefined) throw notFound(resource, name);
    return create(store, { resource, namespace }, withoutVersion(change({})), options);
  }
  const wanted = change(before.object);
  checkBody(resource, wanted);
  checkIdentity(resource, { name, namespace, put }, wanted, before.object);
  const object = merged(resource, wanted, before.object, subresource);
  if (subresource === undefined) resource.rules.prepareUpdate?.(object, before.object);
  else resource.rules.prepareStatus?.(object, before.object);
  const warnings = shaped(resource, object, options);
  countGeneration(resource, object, before.object);
  check(resource, name, [
    ...metadataCauses(resource, object, false),
    ...newFinalizerCauses(object, before.object),
    ...(resource.rules.validate?.(object, before.object) ?? []),
  ]);
  // A write that changes nothing is none: no new version, no event.
  if (equal(object, before.object)) return { created: false, object: before.object, stored: before, warnings };
  return write(store, resource, key, object, { created: false, warnings, dryRun: options.dryRun });
}

const withoutVersion = (body: JsonObject): JsonObject =>
  withMetadata(body, without(objectAt(body, "metadata"), "resourceVersion", "uid"));

function check(resource: Resource, name: string, causes: Parameters<typeof invalid>[2]): void {
  if (causes.length > 0) throw invalid(resource, name, causes);
}

function checkNamespace(store: Store, resource: Resource, namespace: string, name: string): void {
  const home = { group: "", plural: "namespaces", kind: "Namespace" };
  const found = store.get(shelfOf(home), namespace);
  if (found === undefined) throw notFound(home, namespace);
  if (textAt(found.object, "status", "phase") !== "Terminating") return;
  throw forbidden(
    resource,
    name,
    `unable to create new content in namespace ${namespace} because it is being terminated`,
    [
      {
        reason: "NamespaceTerminating",
        message: `namespace ${namespace} is being terminated`,
        field: "metadata.namespace",
      },
    ],
  );
}

/** The letters that can follow generateName: no vowels, so no words. */
const nameLetters = "bcdfghjklmnpqrstvwxz2456789";
const generatedLength = 5;
const generatedPrefixMax = 63 - generatedLength;

function freeName(metadata: JsonObject, taken: (name: string) => boolean): string {
  const name = textAt(metadata, "name") ?? "";
  const prefix = (textAt(metadata, "generateName") ?? "").slice(0, generatedPrefixMax);
  if (name !== "" || prefix === "") return name;
  for (let tries = 0; ; tries += 1) {
    const ending = Array.from({ length: generatedLength }, () => nameLetters.charAt(randomInt(nameLetters.length)));
    const candidate = prefix + ending.join("");
    if (!taken(candidate) || tries === generatedNamesMax) return candidate;
  }
}

interface Wanted {
  name: string;
  namespace?: string | undefined;
  put: boolean;
}

function checkIdentity(
  resource: Resource,
  { name, namespace, put }: Wanted,
  wanted: JsonObject,
  before: JsonObject,
): void {
  const given = metadataOf(wanted);
  const ownName = textAt(given, "name") ?? "";
  if (put && ownName === "") throw badRequest("name must be provided");
  if (ownName !== name)
    throw badRequest(`the name of the object (${ownName}) does not match the name on the URL (${name})`);
  if (namespace !== undefined && (textAt(given, "namespace") ?? namespace) !== namespace)
    throw badRequest("the namespace of the object does not match the namespace on the request");
  const [uid, version] = [textAt(given, "uid"), textAt(given, "resourceVersion") ?? ""];
  const [uidBefore, versionBefore] = [textAt(before, "metadata", "uid"), textAt(before, "metadata", "resourceVersion")];
  if (uid !== undefined && uid !== uidBefore && !put)
    throw invalid(resource, name, [wrong.value("metadata.uid", uid, "field is immutable")]);
  if (uid !== undefined && uid !== uidBefore)
    throw conflict(
      resource,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${uidBefore}`,
    );
  if (version === "" && put && !resource.putUnconditionally)
    throw invalid(resource, name, [wrong.value("metadata.resourceVersion", 0, "must be specified for an update")]);
  if (version !== "" && version !== versionBefore) throw staleVersion(resource, name);
}

/** Metadata that only the server writes. */
const serversOwn = [
  "uid",
  "resourceVersion",
  "creationTimestamp",
  "generation",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "generateName",
];

/** The object as the writer may have it: the server's own metadata and the part that this path does not write are as before. */
function merged(
  resource: Resource,
  wanted: JsonObject,
  before: JsonObject,
  subresource: "status" | undefined,
): JsonObject {
  const kept = Object.fromEntries(
    serversOwn.flatMap((key) => {
      const value = objectAt(before, "metadata")[key];
      return value === undefined ? [] : [[key, value] as const];
    }),
  );
  const metadata = { ...without(metadataOf(wanted), ...serversOwn), ...kept };
  const clean = cleaned(resource, wanted);
  // What a status write may change of the rest differs: of our own kinds nothing, of the built-in ones the metadata.
  if (subresource === "status") {
    const status = clean["status"] === undefined ? {} : { status: clean["status"] };
    const rest = without(before, "status");
    return resource.builtIn ? withMetadata({ ...rest, ...status }, metadata) : { ...rest, ...status };
  }
  const status = before["status"] === undefined ? {} : { status: before["status"] };
  return withMetadata(resource.hasStatus ? { ...without(clean, "status"), ...status } : clean, metadata);
}

function shaped(resource: Resource, object: JsonObject, { unknownFields }: WriteOptions): string[] {
  const unknown = resource.rules.shape?.(object) ?? [];
  if (unknown.length === 0 || unknownFields === "ignore") return [];
  const words = unknown.map((path) => `unknown field "${path}"`);
  if (unknownFields === "warn") return words;
  throw badRequest(`strict decoding error: ${words.join(", ")}`);
}

function countGeneration(resource: Resource, object: JsonObject, before: JsonObject): void {
  if (!resource.countsGeneration) return;
  const counted = (each: JsonObject): JsonObject =>
    without(each, "metadata", ...(resource.hasStatus ? ["status"] : []));
  const generation = numberAt(before, "metadata", "generation") ?? 1;
  const next = equal(counted(object), counted(before)) ? generation : generation + 1;
  object["metadata"] = { ...objectAt(object, "metadata"), generation: next };
}

function newFinalizerCauses(object: JsonObject, before: JsonObject): ReturnType<typeof wrong.value>[] {
  if (textAt(before, "metadata", "deletionTimestamp") === undefined) return [];
  const had = textsAt(before, "metadata", "finalizers");
  const added = textsAt(object, "metadata", "finalizers").filter((each) => !had.includes(each));
  if (added.length === 0) return [];
  const shown = added.map((each) => JSON.stringify(each)).join(", ");
  return [
    wrong.forbidden(
      "metadata.finalizers",
      `no new finalizers can be added if the object is being deleted, found new finalizers []string{${shown}}`,
    ),
  ];
}

interface Outcome {
  created: boolean;
  warnings: string[];
  dryRun: boolean;
}

function write(
  store: Store,
  resource: Resource,
  key: string,
  object: JsonObject,
  { created, warnings, dryRun }: Outcome,
): Written {
  const bytes = Buffer.byteLength(JSON.stringify(object));
  if (bytes > objectSizeMaxBytes)
    throw new Refusal(
      500,
      "InternalError",
      `etcdserver: request is too large: ${bytes} bytes, at most ${objectSizeMaxBytes}`,
    );
  if (dryRun) return { created, object, warnings };
  const shelf = shelfOf(resource);
  if (isReleased(object)) {
    const last = store.remove(shelf, key);
    resource.rules.stored?.(last.object, "removed");
    return { created, object, warnings };
  }
  const stored = store.put(shelf, key, object);
  resource.rules.stored?.(stored.object, "written");
  return { created, object: stored.object, stored, warnings };
}

/** True of an object that only waited for finalizers, and has none left. */
function isReleased(object: JsonObject): boolean {
  if (textAt(object, "metadata", "deletionTimestamp") === undefined) return false;
  const waits = textsAt(object, "metadata", "finalizers").length > 0 || holdsItself(object);
  return !waits && (numberAt(object, "metadata", "deletionGracePeriodSeconds") ?? 0) === 0;
}

/** A namespace is held by spec.finalizers, too. */
export const holdsItself = (object: JsonObject): boolean =>
  object["kind"] === "Namespace" && textsAt(object, "spec", "finalizers").length > 0;
