// Maps and sets that hold the newest of what they were given, and no more than so many.

/** Takes away what came first, beyond `max`. */
export function dropOldest<K>(
  held: { readonly size: number; keys(): Iterable<K>; delete(key: K): boolean },
  max: number,
): void {
  for (const oldest of held.keys()) {
    if (held.size <= max) return;
    held.delete(oldest);
  }
}

/** Puts the entry last, whether it was there or not. */
export function keepNewest<K, V>(held: Map<K, V>, key: K, value: V, max: number): void {
  held.delete(key);
  held.set(key, value);
  dropOldest(held, max);
}
