// What the controller manager does behind an API server: collects what has lost its owners, empties namespaces, forgets old events.

import { type Loop, startLoop } from "../../src/base/loop.ts";
import { withMetadata } from "./body.ts";
import { foregroundFinalizer, orphanFinalizer, remove } from "./deletes.ts";
import { type Owners, type Place, keepOwners, ownersOf, uidOf } from "./owners.ts";
import type { Registry } from "./registry.ts";
import { type Resource, shelfOf } from "./resource.ts";
import { Refusal } from "./status.ts";
import type { Change, Store, Stored } from "./store.ts";
import { type Json, at, listAt, objectAt, textAt, textsAt, without } from "./value.ts";
import { update } from "./writes.ts";

/** Events are kept this long (kube-apiserver, --event-ttl). */
const eventLifeMs = 3_600_000;
const namespaces = "/namespaces";
const events = "/events";

interface CollectorDeps {
  store: Store;
  registry: Registry;
  signal: AbortSignal;
}

interface Work extends Omit<CollectorDeps, "signal"> {
  owners: Owners;
  /** What to look at, by shelf and key. */
  queue: Map<string, Place>;
}

/** Starts collecting: soon after a change that concerns it, and events once a minute. */
export function startCollector({ store, registry, signal }: CollectorDeps): Loop {
  const work: Work = { store, registry, owners: keepOwners(store), queue: new Map() };
  const loop = startLoop({
    name: "collector",
    sync: async () => collect(work),
    minMs: 10,
    retryMs: 100,
    retryMaxMs: 5_000,
    maxMs: 60_000,
    signal,
  });
  store.onChange((shelf, change) => {
    const waiting = work.queue.size;
    for (const place of concerned(work, shelf, change)) work.queue.set(`${place.shelf} ${place.key}`, place);
    if (work.queue.size > waiting) loop.trigger();
  });
  return loop;
}

/** What a change gives reason to look at. */
function concerned({ store, owners }: Work, shelf: string, { type, after }: Change): Place[] {
  if (type !== "DELETED") {
    const marked = at(after.object, "metadata", "deletionTimestamp") !== undefined;
    const lost = ownersOf(after).some((uid) => !owners.lives(uid));
    return marked || lost ? [{ shelf, key: after.key }] : [];
  }
  // Its dependents may have lost their last owner; its owners and its namespace may have waited for it.
  const places = owners.ownedBy(uidOf(after));
  for (const uid of ownersOf(after)) {
    const owner = owners.placeOf(uid);
    const stored = owner === undefined ? undefined : store.get(owner.shelf, owner.key);
    if (owner !== undefined && stored !== undefined && isMarked(stored)) places.push(owner);
  }
  const namespace = textAt(after.object, "metadata", "namespace");
  const home = namespace === undefined ? undefined : store.get(namespaces, namespace);
  if (home !== undefined && isMarked(home)) places.push({ shelf: namespaces, key: home.key });
  return places;
}

const isMarked = ({ object }: Stored): boolean => at(object, "metadata", "deletionTimestamp") !== undefined;

function collect(work: Work): void {
  forgetEvents(work);
  const places = [...work.queue.values()];
  work.queue.clear();
  for (const place of places) look(work, place);
}

function resourceAt({ registry }: Work, shelf: string): Resource | undefined {
  return registry.all().find((each) => shelfOf(each) === shelf);
}

function forgetEvents(work: Work): void {
  const resource = resourceAt(work, events);
  for (const stored of work.store.list(events) ?? []) {
    const last = textAt(stored.object, "lastTimestamp") ?? textAt(stored.object, "metadata", "creationTimestamp") ?? "";
    if (resource !== undefined && Date.parse(last) + eventLifeMs < Date.now()) removeQuietly(work, resource, stored);
  }
}

function look(work: Work, { shelf, key }: Place): void {
  const { store, owners } = work;
  const resource = resourceAt(work, shelf);
  const stored = store.get(shelf, key);
  if (resource === undefined || stored === undefined) return;
  const uids = ownersOf(stored);
  if (uids.length > 0 && !uids.some((uid) => owners.lives(uid))) removeQuietly(work, resource, stored);
  const now = store.get(shelf, key);
  if (now !== undefined && isMarked(now)) finish(work, resource, now);
}

/** Takes away what holds an object that is being deleted, as soon as its part is done. */
function finish(work: Work, resource: Resource, stored: Stored): void {
  const { store, owners } = work;
  const dependents = owners.ownedBy(uidOf(stored));
  const finalizers = textsAt(stored.object, "metadata", "finalizers");
  if (finalizers.includes(orphanFinalizer)) {
    for (const { shelf, key } of dependents) {
      const [own, dependent] = [resourceAt(work, shelf), store.get(shelf, key)];
      if (own !== undefined && dependent !== undefined) disown(store, own, dependent, uidOf(stored));
    }
    release(store, resource, stored, orphanFinalizer);
  }
  if (finalizers.includes(foregroundFinalizer)) {
    for (const { shelf, key } of dependents) {
      const [own, dependent] = [resourceAt(work, shelf), store.get(shelf, key)];
      if (own !== undefined && dependent !== undefined) removeQuietly(work, own, dependent);
    }
    if (owners.ownedBy(uidOf(stored)).length === 0) release(store, resource, stored, foregroundFinalizer);
  }
  if (shelfOf(resource) === namespaces) emptyNamespace(work, stored.key);
}

/** Deletes what lives in a namespace; the namespace itself goes when nothing is left. */
function emptyNamespace(work: Work, name: string): void {
  const { store, registry } = work;
  const inside = (): { resource: Resource; stored: Stored }[] =>
    registry
      .all()
      .filter(({ namespaced }) => namespaced)
      .flatMap((resource) =>
        (store.list(shelfOf(resource)) ?? [])
          .filter(({ key }) => key.startsWith(`${name}/`))
          .map((stored) => ({ resource, stored })),
      );
  for (const { resource, stored } of inside()) removeQuietly(work, resource, stored);
  const now = store.get(namespaces, name);
  if (inside().length > 0 || now === undefined) return;
  if (textsAt(now.object, "metadata", "finalizers").length === 0) store.remove(namespaces, name);
  else if (listAt(now.object, "spec", "finalizers").length > 0)
    store.put(namespaces, name, { ...now.object, spec: without(objectAt(now.object, "spec"), "finalizers") });
}

function removeQuietly({ store }: Work, resource: Resource, { object }: Stored): void {
  const [namespace, name = ""] = [textAt(object, "metadata", "namespace"), textAt(object, "metadata", "name")];
  // It may be another by now, or gone: the uid makes sure.
  const uid = textAt(object, "metadata", "uid");
  ignoring(() => remove(store, { resource, namespace }, name, { uid, dryRun: false }));
}

function disown(store: Store, resource: Resource, stored: Stored, owner: string): void {
  const kept = listAt(stored.object, "metadata", "ownerReferences").filter((each) => textAt(each, "uid") !== owner);
  change(store, resource, stored, "ownerReferences", kept);
}

function release(store: Store, resource: Resource, stored: Stored, finalizer: string): void {
  const kept = textsAt(stored.object, "metadata", "finalizers").filter((each) => each !== finalizer);
  change(store, resource, stored, "finalizers", kept);
}

function change(store: Store, resource: Resource, { object }: Stored, key: string, value: readonly Json[]): void {
  const [namespace, name = ""] = [textAt(object, "metadata", "namespace"), textAt(object, "metadata", "name")];
  const next = (before: typeof object): typeof object =>
    withMetadata(before, { ...objectAt(before, "metadata"), [key]: [...value] });
  ignoring(() =>
    update(
      store,
      { resource, namespace },
      { name, put: false, change: next },
      { dryRun: false, unknownFields: "ignore" },
    ),
  );
}

/** Refused is what is gone, held or in the way: its next change brings it here again. */
function ignoring(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
}
