// Whether two lists hold the very same things.

/** True where both have the same values in the same order; objects are the same only if they are one. */
export function sameItems<T>(one: readonly T[], other: readonly T[]): boolean {
  return one.length === other.length && one.every((item, at) => item === other[at]);
}
