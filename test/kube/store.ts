// What a test's API server knows: objects by collection, and the changes since the last compaction.

/** An object as the server holds it: never changed in place. */
export interface Stored {
  metadata: {
    name: string;
    namespace?: string;
    uid: string;
    resourceVersion: string;
    [key: string]: unknown;
  };
  [key: string]: unknown;
}

export interface Place {
  /** Root of the kind, without namespace: what the store calls a collection. */
  collection: string;
  namespace?: string;
  name?: string;
}

/** An object yet without what the server gives. */
export interface Draft {
  metadata: { name: string; namespace?: string; [key: string]: unknown };
  [key: string]: unknown;
}

export interface Change {
  version: number;
  collection: string;
  type: "ADDED" | "MODIFIED" | "DELETED";
  object: Stored;
}

export interface Store {
  version(): number;
  objects(collection: string): readonly Stored[];
  get(collection: string, namespace: string | undefined, name: string): Stored | undefined;
  /** Writes over what is there, or makes it anew with a uid of its own. */
  put(collection: string, object: Draft): Stored;
  /** Gives the object as it was last, with the version of its removal; undefined where there is none. */
  remove(collection: string, namespace: string | undefined, name: string): Stored | undefined;
  /** Undefined where changes after that version have been forgotten. */
  changesAfter(version: number): readonly Change[] | undefined;
  /** Forgets all changes so far; versions go on. */
  compact(): void;
  onChange(listener: (change: Change) => void): () => void;
}

export function createStore(): Store {
  const collections = new Map<string, Map<string, Stored>>();
  const listeners = new Set<(change: Change) => void>();
  let changes: Change[] = [];
  let version = 100; // of two digits more than a list position, so that neither is taken for the other
  let forgotten = version;
  let uids = 0;

  const of = (collection: string): Map<string, Stored> => {
    const found = collections.get(collection) ?? new Map<string, Stored>();
    collections.set(collection, found);
    return found;
  };
  const key = (namespace: string | undefined, name: string): string => `${namespace ?? ""}/${name}`;
  function tell(collection: string, type: Change["type"], object: Stored): Stored {
    const change = { version, collection, type, object };
    changes.push(change);
    for (const listener of listeners) listener(change);
    return object;
  }

  return {
    version: () => version,
    objects: (collection) => [...of(collection).values()],
    get: (collection, namespace, name) => of(collection).get(key(namespace, name)),
    put: (collection, object) => {
      const at = key(object.metadata.namespace, object.metadata.name);
      const before = of(collection).get(at);
      version += 1;
      const uid = before?.metadata.uid ?? `uid-${(uids += 1)}`;
      const after = { ...object, metadata: { ...object.metadata, uid, resourceVersion: String(version) } };
      of(collection).set(at, after);
      return tell(collection, before === undefined ? "ADDED" : "MODIFIED", after);
    },
    remove: (collection, namespace, name) => {
      const before = of(collection).get(key(namespace, name));
      if (before === undefined) return undefined;
      version += 1;
      of(collection).delete(key(namespace, name));
      const last = { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } };
      return tell(collection, "DELETED", last);
    },
    changesAfter: (from) => (from < forgotten ? undefined : changes.filter(({ version }) => version > from)),
    compact: () => {
      forgotten = version;
      changes = [];
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
