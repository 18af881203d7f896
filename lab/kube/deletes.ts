// Deletion: at once, after a grace period, or when the last finalizer is gone (apiserver/pkg/registry/rest/delete.go, generic/registry/store.go).

import { withMetadata } from "./body.ts";
import { type Resource, keyOf, shelfOf } from "./resource.ts";
import { type Cause, badRequest, conflict, forbidden, invalid, notFound, wrong } from "./status.ts";
import type { Store, Stored } from "./store.ts";
import { type Json, type JsonObject, at, isObject, numberAt, objectAt, textAt, textsAt } from "./value.ts";
import { type Target, holdsItself, timestamp } from "./writes.ts";

export const orphanFinalizer = "orphan";
export const foregroundFinalizer = "foregroundDeletion";
const policies = ["Orphan", "Background", "Foreground"];

/** Namespaces that are always there. */
export const immortalNamespaces: readonly string[] = ["default", "kube-system", "kube-public"];

export interface DeleteOptions {
  gracePeriodSeconds?: number | undefined;
  propagationPolicy?: string | undefined;
  uid?: string | undefined;
  resourceVersion?: string | undefined;
  dryRun: boolean;
}

export interface Deleted {
  /** True where it is gone, false where it waits. */
  gone: boolean;
  object: JsonObject;
}

/** Options from the query and the body; the body goes first. @throws Refusal */
export function readDeleteOptions(query: URLSearchParams, body: Json | undefined): DeleteOptions {
  if (body !== undefined && !isObject(body)) throw badRequest("DeleteOptions must be an object");
  const grace = numberAt(body, "gracePeriodSeconds") ?? queryNumber(query.get("gracePeriodSeconds"));
  const policy = textAt(body, "propagationPolicy") ?? query.get("propagationPolicy") ?? undefined;
  const dryRun = [...textsAt(body, "dryRun"), ...query.getAll("dryRun")];
  const causes: Cause[] = dryRun
    .filter((each) => each !== "All")
    .map((each) => wrong.unsupported("dryRun", each, ["All"]));
  if (policy !== undefined && !policies.includes(policy))
    causes.push(wrong.unsupported("propagationPolicy", policy, policies));
  if (causes.length > 0) throw invalid({ group: "meta.k8s.io", kind: "DeleteOptions" }, "", causes);
  return {
    gracePeriodSeconds: grace,
    propagationPolicy: policy,
    uid: textAt(body, "preconditions", "uid"),
    resourceVersion: textAt(body, "preconditions", "resourceVersion"),
    dryRun: dryRun.length > 0,
  };
}

function queryNumber(text: string | null): number | undefined {
  if (text === null || text === "") return undefined;
  if (!/^-?\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Number(text);
}

/** @throws Refusal */
export function remove(store: Store, { resource, namespace }: Target, name: string, options: DeleteOptions): Deleted {
  const key = keyOf(namespace, name);
  const before = store.get(shelfOf(resource), key);
  if (before === undefined) throw notFound(resource, name);
  checkPreconditions(resource, before.object, options);
  if (resource.kind === "Namespace" && resource.group === "") {
    if (immortalNamespaces.includes(name)) throw forbidden(resource, name, "this namespace may not be deleted");
  }
  const finalizers = finalizersAfter(before.object, options.propagationPolicy);
  const grace = graceOf(resource, before.object, options.gracePeriodSeconds);
  const waits = finalizers.length > 0 || holdsItself(before.object);
  if (grace === "pending" && finalizers.length === textsAt(before.object, "metadata", "finalizers").length)
    return { gone: false, object: before.object };
  if (!waits && (grace === "pending" || grace === 0)) {
    if (options.dryRun) return { gone: true, object: before.object };
    const last = store.remove(shelfOf(resource), key);
    resource.rules.stored?.(last.object, "removed");
    return { gone: true, object: last.object };
  }
  const object = marked(before, finalizers, grace === "pending" ? undefined : grace);
  if (options.dryRun) return { gone: false, object };
  const changed = JSON.stringify(object) !== JSON.stringify(before.object);
  return { gone: false, object: changed ? store.put(shelfOf(resource), key, object).object : before.object };
}

function checkPreconditions(resource: Resource, before: JsonObject, { uid, resourceVersion }: DeleteOptions): void {
  const name = textAt(before, "metadata", "name") ?? "";
  const named = { ...resource, plural: resource.kind };
  const [uidNow, versionNow] = [textAt(before, "metadata", "uid"), textAt(before, "metadata", "resourceVersion")];
  if (uid !== undefined && uid !== uidNow)
    throw conflict(
      named,
      name,
      `the UID in the precondition (${uid}) does not match the UID in record (${uidNow}). The object might have been deleted and then recreated`,
    );
  if (resourceVersion !== undefined && resourceVersion !== versionNow)
    throw conflict(
      named,
      name,
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${versionNow}). The object might have been modified`,
    );
}

/** The garbage collector's two finalizers follow the policy; without one, what is there stays. */
function finalizersAfter(before: JsonObject, policy: string | undefined): string[] {
  const have = textsAt(before, "metadata", "finalizers");
  if (policy === undefined) return have;
  const others = have.filter((each) => each !== orphanFinalizer && each !== foregroundFinalizer);
  if (policy === "Orphan") return [...others, orphanFinalizer];
  return policy === "Foreground" ? [...others, foregroundFinalizer] : others;
}

/** Seconds that the object may still stay; "pending" where it is being deleted within the time asked for. Only pods get any. */
function graceOf(resource: Resource, before: JsonObject, asked: number | undefined): number | "pending" {
  const since = textAt(before, "metadata", "deletionTimestamp");
  if (resource.kind !== "Pod" || resource.group !== "") return since === undefined ? 0 : alreadyMarked(before);
  const wanted = asked !== undefined && asked < 0 ? 1 : asked;
  if (since !== undefined) {
    const left = numberAt(before, "metadata", "deletionGracePeriodSeconds") ?? 0;
    return left === 0 ? alreadyMarked(before) : wanted !== undefined && wanted < left ? wanted : "pending";
  }
  const phase = textAt(before, "status", "phase");
  const unplaced = (textAt(before, "spec", "nodeName") ?? "") === "";
  if (unplaced || phase === "Failed" || phase === "Succeeded") return 0;
  return wanted ?? numberAt(before, "spec", "terminationGracePeriodSeconds") ?? 0;
}

/** Marked with no time left: a second DELETE removes it where no finalizer holds it, else changes nothing. */
const alreadyMarked = (before: JsonObject): 0 | "pending" =>
  textsAt(before, "metadata", "finalizers").length === 0 && !holdsItself(before) ? 0 : "pending";

function marked({ object }: Stored, finalizers: readonly string[], graceSeconds: number | undefined): JsonObject {
  const metadata = { ...objectAt(object, "metadata") };
  if (finalizers.length > 0) metadata["finalizers"] = [...finalizers];
  else delete metadata["finalizers"];
  if (graceSeconds !== undefined) {
    const generation = numberAt(metadata, "generation");
    const first = at(metadata, "deletionTimestamp") === undefined;
    if (first && generation !== undefined) metadata["generation"] = generation + 1;
    const already = textAt(metadata, "deletionTimestamp");
    const due = timestamp(Date.now() + graceSeconds * 1000);
    metadata["deletionTimestamp"] = already !== undefined && already < due ? already : due;
    metadata["deletionGracePeriodSeconds"] = graceSeconds;
  }
  const next = withMetadata(object, metadata);
  return next["kind"] === "Namespace" && next["apiVersion"] === "v1"
    ? { ...next, status: { ...objectAt(next, "status"), phase: "Terminating" } }
    : next;
}
