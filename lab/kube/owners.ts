// Which objects live, and which of them say that they belong to which: kept along with the store, so that no pass reads it all.

import type { Store, Stored } from "./store.ts";
import { listAt, textAt } from "./value.ts";

/** An object by where it stands. */
export interface Place {
  shelf: string;
  key: string;
}

export interface Owners {
  lives(uid: string): boolean;
  /** Where the object with this uid stands. */
  placeOf(uid: string): Place | undefined;
  /** What names `uid` as an owner. */
  ownedBy(uid: string): Place[];
}

export const uidOf = ({ object }: Stored): string => textAt(object, "metadata", "uid") ?? "";

export const ownersOf = ({ object }: Stored): string[] =>
  listAt(object, "metadata", "ownerReferences").map((each) => textAt(each, "uid") ?? "");

/** Starts keeping; what is in the store already is taken in first. */
export function keepOwners(store: Store): Owners {
  const living = new Map<string, Place>();
  const owned = new Map<string, Map<string, Place>>();

  function link(shelf: string, stored: Stored): void {
    for (const owner of ownersOf(stored)) {
      const those = owned.get(owner) ?? new Map<string, Place>();
      owned.set(owner, those.set(`${shelf} ${stored.key}`, { shelf, key: stored.key }));
    }
  }

  function unlink(shelf: string, stored: Stored): void {
    for (const owner of ownersOf(stored)) {
      const those = owned.get(owner);
      those?.delete(`${shelf} ${stored.key}`);
      if (those?.size === 0) owned.delete(owner);
    }
  }

  for (const { resource: shelf, key } of store.dump().objects) {
    const stored = store.get(shelf, key);
    if (stored === undefined) continue;
    living.set(uidOf(stored), { shelf, key });
    link(shelf, stored);
  }
  store.onChange((shelf, { type, before, after }) => {
    if (before !== undefined) unlink(shelf, before);
    if (type === "DELETED") living.delete(uidOf(after));
    else {
      living.set(uidOf(after), { shelf, key: after.key });
      link(shelf, after);
    }
  });
  return {
    lives: (uid) => living.has(uid),
    placeOf: (uid) => living.get(uid),
    ownedBy: (uid) => [...(owned.get(uid)?.values() ?? [])],
  };
}
