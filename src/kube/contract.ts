// What the rest of the program may ask of the Kubernetes API: typed objects in and out, faults of the error table when it says no.

/** The part of every object's metadata that we use. */
export interface Meta {
  name: string;
  /** Absent on cluster-scoped objects. */
  namespace?: string;
  /** Absent only on what is yet to be created. */
  uid?: string;
  /** Opaque: compared for equality, never ordered. Given on a write, it is the version that must still be the newest. */
  resourceVersion?: string;
  generation?: number;
  labels?: Readonly<Record<string, string>>;
  annotations?: Readonly<Record<string, string>>;
  /** Set while the object waits for its finalizers or, a pod, for its kubelet. */
  deletionTimestamp?: string;
  creationTimestamp?: string;
  ownerReferences?: readonly OwnerReference[];
  finalizers?: readonly string[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
}

/** An object: its metadata, and what its kind adds. */
export interface KubeObject {
  metadata: Meta;
}

/** How a kind is named on the wire, and what we keep of its objects. */
export interface Kind<T extends KubeObject> {
  /** "" for the core group. */
  group: string;
  version: string;
  kind: string;
  plural: string;
  namespaced: boolean;
  /** Takes what we use out of an object as the server sends it; keys that we do not know are left behind. @throws any error where it is no such object */
  parse(raw: unknown): T;
}

/** Names one object. */
export interface ObjectRef {
  name: string;
  /** Of namespaced kinds, always. */
  namespace?: string;
}

/** Which objects of a kind. Absent keys select everything. */
export interface Selection {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface Listing<T> {
  items: T[];
  /** Version of the whole collection: where a watch goes on. */
  resourceVersion: string;
}

/** A patch in one of the server's forms; strategic merge is for built-in kinds only. */
export type Patch =
  | { type: "merge"; body: object }
  | { type: "strategic"; body: object }
  | { type: "json"; body: readonly JsonPatchStep[] };

/** RFC 6902. "test" makes the patch conditional. */
export type JsonPatchStep =
  | { op: "add" | "replace" | "test"; path: string; value: unknown }
  | { op: "remove"; path: string }
  | { op: "move" | "copy"; from: string; path: string };

export interface WriteOptions {
  /** Writes only that part; everything else in the object is ignored by the server. */
  subresource?: "status";
  signal?: AbortSignal;
}

export interface ApplyOptions extends WriteOptions {
  fieldManager: string;
  /** Takes fields that another manager owns. */
  force?: boolean;
}

export interface RemoveOptions {
  /** The object must be this one, not a namesake. */
  uid?: string;
  /** The object must be as it was read. */
  resourceVersion?: string;
  signal?: AbortSignal;
}

export interface ListOptions extends Selection {
  /** "any": may come from the server's cache, which can be old; "newest" (if absent) is read from storage. */
  consistency?: "newest" | "any";
  signal?: AbortSignal;
}

/**
 * A client of one API server. Every call has a time limit of its own and is tried once, but for answers that say "later" (429, 503
 * with Retry-After) and a 401 after which the token file holds another token: those are tried again, boundedly.
 * Faults: "kube-not-found", "kube-conflict" (stale resourceVersion or precondition), "kube-exists", "kube-expired" (410), "kube-refused"
 * (400, 403, 422: the same call will not succeed), "kube-unauthorized", "kube-busy" (429, 5xx), "kube-unreachable" (no answer; a
 * write may have been carried out all the same), "kube-answer" (an answer that cannot be read). Each names method, path and the
 * server's own words; `data.status` is the HTTP status, `data.reason` the reason of the Status object.
 */
export interface Kube {
  get<T extends KubeObject>(kind: Kind<T>, ref: ObjectRef, options?: { signal?: AbortSignal }): Promise<T>;
  /** All pages of it, at most `listPagesMax`; starts again, boundedly, where a continue token expires on the way. */
  list<T extends KubeObject>(kind: Kind<T>, options?: ListOptions): Promise<Listing<T>>;
  create<T extends KubeObject>(kind: Kind<T>, object: T, options?: WriteOptions): Promise<T>;
  /** PUT: `metadata.resourceVersion` must be given. Keys that `parse` leaves behind are lost: for kinds that we know wholly. */
  replace<T extends KubeObject>(kind: Kind<T>, object: T, options?: WriteOptions): Promise<T>;
  patch<T extends KubeObject>(kind: Kind<T>, ref: ObjectRef, patch: Patch, options?: WriteOptions): Promise<T>;
  /** Server-side apply. */
  apply<T extends KubeObject>(kind: Kind<T>, object: T, options: ApplyOptions): Promise<T>;
  /** What is gone already is success; a precondition that does not hold is "kube-conflict". */
  remove<T extends KubeObject>(kind: Kind<T>, ref: ObjectRef, options?: RemoveOptions): Promise<void>;
  /** Follows a kind: list, then watch, for ever. Starts at once. */
  follow<T extends KubeObject>(kind: Kind<T>, options: FollowOptions<T>): Cache<T>;
  /** GET of a path that is no object: "/version", "/readyz". */
  raw(path: string, options?: { signal?: AbortSignal }): Promise<string>;
  /** Ends every connection; calls under way fail. */
  close(): Promise<void>;
}

export interface FollowOptions<T> extends Selection {
  signal: AbortSignal;
  /** A kind that not every cluster has: where the server does not know it there are no objects, and it is asked again now and then. */
  mayBeMissing?: boolean;
  /** Told after the cache holds the change: `before` is absent for a new object, `after` for one that is gone. */
  onChange?: (change: CacheChange<T>) => void;
  /** Told once each time that the cache has become whole: at first, and after each relist. */
  onSynced?: () => void;
}

export interface CacheChange<T> {
  before?: T;
  after?: T;
}

/**
 * The objects of a selection as the server has told them, in the server's order. It is never emptied by an outage: what was known
 * stays until the server says otherwise.
 */
export interface Cache<T> {
  /** One object; undefined also before the first sync. */
  get(ref: ObjectRef): T | undefined;
  /** All of them, in no order. */
  all(): readonly T[];
  /** A whole list has been seen since the start. Nothing may be removed on the word of a cache that has not. */
  synced(): boolean;
  /** Settles when `synced`, or rejects with "kube-unreachable" after `withinMs`, naming what keeps it. */
  whenSynced(withinMs: number, signal: AbortSignal): Promise<void>;
  /** Ms since the server was last heard on this watch, bookmarks included; Infinity before the first list. */
  silentMs(): number;
  /** Ends the watch and lists anew: what it holds was found to be behind. */
  renew(): void;
  status(): CacheStatus;
  /** Settles when the following has ended, after `signal` aborted. */
  done: Promise<void>;
}

export interface CacheStatus {
  kind: string;
  objects: number;
  lists: number;
  watches: number;
  events: number;
  /** Objects whose newest version cannot be read; what was read of them before stays. */
  unreadable?: number;
  /** Failures in a row; 0 while the watch runs. */
  failures: number;
  lastError?: string;
}
