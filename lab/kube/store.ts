// The objects, their versions, and the changes that led to them: one counter over everything, as etcd has it, all in memory.

import { Fault } from "../../src/base/fault.ts";
import type { FieldEquals } from "./selectors.ts";
import { type JsonObject, objectAt, textAt } from "./value.ts";

/** Changes kept of one resource; older ones are compacted away, as a watch cache forgets them. */
const changesKeptMax = 100_000;
/** Snapshots of the past kept for lists that are read in pages. */
const snapshotsMax = 8;

/** An object as it was written once. Its JSON is made once, however many watches and lists send it. */
export interface Stored {
  readonly key: string;
  /** Of the whole store, at this write. */
  readonly version: number;
  readonly object: JsonObject;
  /** Its JSON in UTF-8. */
  encoded(): Buffer;
}

export interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  /** The object before; absent where it is new. */
  readonly before?: Stored;
  /** The object now; of a deletion its last state, with the version of the deletion. */
  readonly after: Stored;
}

export interface Store {
  /** Of the newest write. */
  version(): number;
  /** Changes up to this version are forgotten: a watch of the resource from before it has expired. */
  compacted(resource: string): number;
  get(resource: string, key: string): Stored | undefined;
  /** All objects of a resource by key; with `version`, as they were then. Undefined where that is compacted. */
  list(resource: string, version?: number): readonly Stored[] | undefined;
  count(resource: string): number;
  /** Writes an object: its resourceVersion is set here. */
  put(resource: string, key: string, object: JsonObject): Stored;
  /** Removes an object that must be there. Gives it as it was, with the version of its deletion. */
  remove(resource: string, key: string): Stored;
  /** Changes of a resource after `version`, oldest first. Undefined where they are compacted. */
  changesSince(resource: string, version: number): readonly Change[] | undefined;
  /**
   * Tells of each change of a resource, in order, at once; with `only`, of changes of what has that value in a field, or had it
   * before. Gives the way to stop it.
   */
  subscribe(resource: string, tell: Listener, only?: FieldEquals): () => void;
  /** Tells of each change of any resource. */
  onChange(tell: (resource: string, change: Change) => void): void;
  /** A resource begins now: nothing from before is known of it. */
  begin(resource: string): void;
  /** Forgets all changes up to `version`; the newest without it. */
  compact(version?: number): void;
  /** Every object with its resource, for a file. */
  dump(): { version: number; objects: { resource: string; key: string; object: JsonObject }[] };
  /** The store of a file; only an empty store can take it. */
  load(dump: ReturnType<Store["dump"]>): void;
}

type Listener = (change: Change) => void;

/** Who listens to one value of a field: a thousand nodes that each follow their own pods cost no more than one. */
interface FieldListeners {
  read: FieldEquals["read"];
  byValue: Map<string, Set<Listener>>;
}

interface Shelf {
  objects: Map<string, Stored>;
  /** Keys in order; undefined when a key came or went since. */
  sorted: readonly Stored[] | undefined;
  changes: Change[];
  /** Changes up to this version are not known; 0 where only the store's own limit counts. */
  begins: number;
  listeners: Set<Listener>;
  byField: Map<string, FieldListeners>;
}

/** An empty store; the first write gets version 2, for 0 and 1 mean "any" to some clients. */
export function createStore(): Store {
  const shelves = new Map<string, Shelf>();
  const everywhere: ((resource: string, change: Change) => void)[] = [];
  const snapshots = new Map<string, readonly Stored[]>();
  let version = 1;
  let compacted = 0;

  const shelf = (resource: string): Shelf => {
    let found = shelves.get(resource);
    if (found === undefined) {
      found = {
        objects: new Map(),
        sorted: undefined,
        changes: [],
        begins: 0,
        listeners: new Set(),
        byField: new Map(),
      };
      shelves.set(resource, found);
    }
    return found;
  };

  const record = (resource: string, change: Change): void => {
    const { changes, listeners, byField } = shelf(resource);
    changes.push(change);
    if (changes.length > changesKeptMax) compact(changes[changes.length >> 1]?.version ?? version);
    for (const tell of listeners) tell(change);
    for (const { read, byValue } of byField.values()) {
      const values = new Set([change.before ?? change.after, change.after].map(({ object }) => read(object)));
      for (const value of values) for (const tell of byValue.get(value) ?? []) tell(change);
    }
    for (const tell of everywhere) tell(resource, change);
  };

  const versioned = (key: string, object: JsonObject): Stored => {
    version += 1;
    return stored(key, version, object);
  };

  function put(resource: string, key: string, object: JsonObject): Stored {
    const own = shelf(resource);
    const before = own.objects.get(key);
    const after = versioned(key, object);
    own.objects.set(key, after);
    own.sorted = undefined;
    const changed = { version: after.version, after };
    record(resource, before === undefined ? { type: "ADDED", ...changed } : { type: "MODIFIED", ...changed, before });
    return after;
  }

  function remove(resource: string, key: string): Stored {
    const own = shelf(resource);
    const before = own.objects.get(key);
    if (before === undefined) throw new Fault("bug", `${resource} ${key} is not stored`);
    const after = versioned(key, before.object);
    own.objects.delete(key);
    own.sorted = undefined;
    record(resource, { type: "DELETED", version: after.version, before, after });
    return after;
  }

  function newest(resource: string): readonly Stored[] {
    const own = shelf(resource);
    own.sorted ??= [...own.objects.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    return own.sorted;
  }

  /** Goes back from the newest by undoing changes. */
  function past(resource: string, wanted: number): readonly Stored[] {
    const own = shelf(resource);
    if ((own.changes.at(-1)?.version ?? 0) <= wanted) return newest(resource);
    const name = `${resource} ${wanted}`;
    const known = snapshots.get(name);
    if (known !== undefined) return known;
    const objects = new Map(own.objects);
    for (let at = own.changes.length - 1; at >= 0; at -= 1) {
      const change = own.changes[at];
      if (change === undefined || change.version <= wanted) break;
      if (change.before === undefined) objects.delete(change.after.key);
      else objects.set(change.before.key, change.before);
    }
    const sorted = [...objects.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    snapshots.set(name, sorted);
    const [oldest] = snapshots.keys();
    if (snapshots.size > snapshotsMax && oldest !== undefined) snapshots.delete(oldest);
    return sorted;
  }

  function compact(upTo = version): void {
    compacted = Math.max(compacted, Math.min(upTo, version));
    for (const own of shelves.values()) own.changes = own.changes.filter((change) => change.version > compacted);
    snapshots.clear();
  }

  return {
    version: () => version,
    compacted: (resource) => Math.max(compacted, shelf(resource).begins),
    get: (resource, key) => shelf(resource).objects.get(key),
    count: (resource) => shelf(resource).objects.size,
    list: (resource, wanted) => {
      if (wanted === undefined || wanted >= version) return newest(resource);
      return wanted < compacted ? undefined : past(resource, wanted);
    },
    put,
    remove,
    changesSince: (resource, since) => {
      const { changes, begins } = shelf(resource);
      if (since < Math.max(compacted, begins)) return undefined;
      return changes.slice(firstAfter(changes, since));
    },
    subscribe: (resource, tell, only) => {
      const { listeners, byField } = shelf(resource);
      const own = only === undefined ? listeners : listenersOf(byField, only);
      own.add(tell);
      return () => void own.delete(tell);
    },
    onChange: (tell) => void everywhere.push(tell),
    begin: (resource) => {
      shelf(resource).begins = version;
    },
    compact,
    dump: () => ({
      version,
      objects: [...shelves].flatMap(([resource, own]) =>
        [...own.objects.values()].map(({ key, object }) => ({ resource, key, object })),
      ),
    }),
    load: (dump) => {
      if (version !== 1) throw new Fault("bug", "a store that holds something cannot be loaded");
      for (const { resource, key, object } of dump.objects)
        shelf(resource).objects.set(key, stored(key, versionOf(object), object));
      // What was changed before the file was written is not in it: a watch from then must list anew.
      version = dump.version;
      compacted = version;
    },
  };
}

function listenersOf(byField: Map<string, FieldListeners>, { path, read, value }: FieldEquals): Set<Listener> {
  const field = byField.get(path) ?? { read, byValue: new Map<string, Set<Listener>>() };
  byField.set(path, field);
  const own = field.byValue.get(value) ?? new Set<Listener>();
  field.byValue.set(value, own);
  return own;
}

const versionOf = (object: JsonObject): number => Number(textAt(object, "metadata", "resourceVersion") ?? 0);

function stored(key: string, version: number, object: JsonObject): Stored {
  const metadata = { ...objectAt(object, "metadata"), resourceVersion: String(version) };
  const whole: JsonObject = { ...object, metadata };
  let json: Buffer | undefined;
  return {
    key,
    version,
    object: whole,
    encoded: () => (json ??= Buffer.from(JSON.stringify(whole))),
  };
}

/** The index of the first change after `version`, by halving. */
function firstAfter(changes: readonly Change[], version: number): number {
  let low = 0;
  let high = changes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((changes[middle]?.version ?? 0) <= version) low = middle + 1;
    else high = middle;
  }
  return low;
}
