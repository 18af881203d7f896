// What a set holds after some changes, without a copy of all that it held: a change of one among a hundred thousand is made in no time.

import type { Element, Elements } from "./policy-image.ts";

export interface ChangedElements extends Elements {
  /** Takes these away, then puts those in. */
  change: (remove: Elements, add: Elements) => void;
}

/** Begins as `base`, which stays as it is. Its order is that of the base, what has come behind it. */
export function changedElements(base: Elements): ChangedElements {
  /** Keys of the base that are no more. */
  const gone = new Set<string>();
  /** Elements that the base does not have. */
  const come = new Map<string, Element>();
  const has = (key: string): boolean => come.has(key) || (base.has(key) && !gone.has(key));
  function* entries(): MapIterator<[string, Element]> {
    for (const entry of base) if (!gone.has(entry[0])) yield entry;
    yield* come;
  }
  function* keys(): MapIterator<string> {
    for (const [key] of entries()) yield key;
  }
  function* values(): MapIterator<Element> {
    for (const [, element] of entries()) yield element;
  }
  const all: ChangedElements = {
    get size() {
      return base.size - gone.size + come.size;
    },
    has,
    get: (key) => come.get(key) ?? (gone.has(key) ? undefined : base.get(key)),
    entries,
    keys,
    values,
    forEach: (call) => {
      for (const [key, element] of entries()) call(element, key, all);
    },
    [Symbol.iterator]: entries,
    change: (remove, add) => {
      for (const key of remove.keys()) {
        come.delete(key);
        if (base.has(key)) gone.add(key);
      }
      for (const [key, element] of add) {
        if (base.has(key)) gone.delete(key);
        else come.set(key, element);
      }
    },
  };
  return all;
}
