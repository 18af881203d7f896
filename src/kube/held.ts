// What a cache holds: objects by name, each change told once and in order, whatever cannot be read left out of it.

import { describe } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import type { CacheChange, Kind, KubeObject } from "./contract.ts";
import { type Identity, identityOf, keyOf } from "./path.ts";

export interface HeldOptions<T extends KubeObject> {
  kind: Kind<T>;
  log: Log;
  onChange: (change: CacheChange<T>) => void;
}

/** Names of unreadable objects that are remembered, so that each is reported once; beyond it they are counted alone. */
const unreadableMax = 1000;

/**
 * The objects of one selection. An object that cannot be read is reported once and its news left out: what was read of the same
 * object (by uid) before stays, since a version that we do not understand is no word that the object is gone. It goes when the
 * object is deleted or is another one.
 */
export interface Held<T extends KubeObject> {
  objects: ReadonlyMap<string, T>;
  /** Objects whose newest version could not be read. */
  unreadable(): number;
  /** Takes in what an event says an object is now. */
  put(raw: unknown): void;
  /** Takes in that an object is gone. */
  drop(raw: unknown): void;
  /** Begins to take a whole list; until its `end` nothing of it is told. */
  relist(): Relist;
}

export interface Relist {
  take(raw: unknown): void;
  /** The list is whole: what it lacks is gone. First what is gone is told, then what is new or changed. */
  end(): void;
}

export function createHeld<T extends KubeObject>({ kind, log, onChange }: HeldOptions<T>): Held<T> {
  const objects = new Map<string, T>();
  const unreadable = new Set<string>();

  /** The object, or undefined where it cannot be read; then it has been reported. */
  function read(raw: unknown, key: string): T | undefined {
    try {
      const object = kind.parse(raw);
      unreadable.delete(key);
      return object;
    } catch (error) {
      if (!unreadable.has(key)) {
        if (unreadable.size < unreadableMax) unreadable.add(key);
        log.warn({ kind: kind.kind, object: key, error: describe(error) }, "object cannot be read and is left out");
      }
      return undefined;
    }
  }

  /** Where the newest version cannot be read: another object under the same name is all that it proves gone. */
  function forget(key: string, uid: string | undefined): void {
    const held = objects.get(key);
    if (held !== undefined && held.metadata.uid !== uid) set(key, undefined);
  }

  function set(key: string, after: T | undefined): void {
    const before = objects.get(key);
    if (after === undefined) objects.delete(key);
    else objects.set(key, after);
    if (before !== undefined || after !== undefined) {
      onChange({ ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) });
    }
  }

  const isSame = (key: string, { uid, resourceVersion }: Identity): boolean => {
    const held = objects.get(key)?.metadata;
    return (
      held !== undefined &&
      resourceVersion !== undefined &&
      held.resourceVersion === resourceVersion &&
      held.uid === uid
    );
  };

  function named(raw: unknown): Identity | undefined {
    const identity = identityOf(raw);
    if (identity === undefined) log.warn({ kind: kind.kind }, "object without a name is left out");
    return identity;
  }

  return {
    objects,
    unreadable: () => unreadable.size,
    put: (raw) => {
      const identity = named(raw);
      if (identity === undefined) return;
      const key = keyOf(identity);
      if (isSame(key, identity)) return;
      const object = read(raw, key);
      if (object === undefined) forget(key, identity.uid);
      else set(key, object);
    },
    drop: (raw) => {
      const identity = named(raw);
      if (identity === undefined) return;
      unreadable.delete(keyOf(identity));
      set(keyOf(identity), undefined);
    },
    relist: () => {
      const fresh = new Map<string, { identity: Identity; object?: T }>();
      return {
        take: (raw) => {
          const identity = named(raw);
          if (identity === undefined) return;
          const key = keyOf(identity);
          const object = isSame(key, identity) ? objects.get(key) : read(raw, key);
          fresh.set(key, { identity, ...(object === undefined ? {} : { object }) });
        },
        end: () => {
          for (const key of unreadable) if (!fresh.has(key)) unreadable.delete(key);
          for (const key of objects.keys()) {
            const listed = fresh.get(key);
            if (listed === undefined) set(key, undefined);
            else if (listed.object === undefined) forget(key, listed.identity.uid);
          }
          for (const [key, { object }] of fresh) {
            if (object !== undefined && object !== objects.get(key)) set(key, object);
          }
        },
      };
    },
  };
}
