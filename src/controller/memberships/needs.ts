// Which memberships are kept up: those that some policy names, and for a while those that none names any more.

import type { MembershipDefinition } from "../../policy/model.ts";
import { neededMemberships, type ReadObjects } from "../../policy/read-objects.ts";

/** How long nothing must have named a membership before its slices go: people take a policy away and put it back. */
export const unneededSettleMs = 60_000;
/** Memberships that nothing names any more and that are kept up all the same; the slices of more stand as they are until they go. */
const lingeringMax = 1000;

export interface Needs {
  /** Those that are kept up. The same list for as long as nothing in it has changed. */
  definitions: readonly MembershipDefinition[];
  /** Keys of slices that nothing has named for long enough. */
  unneeded: ReadonlySet<string>;
  /** Some are named by nothing, and not yet for long enough. */
  waiting: boolean;
}

/** Gives a function that says what is needed; it remembers since when what is not. Call it in each pass, with the keys of all slices. */
export function createNeeds(clock: () => number): (objects: ReadObjects, sliced: Iterable<string>) => Needs {
  let read: ReadObjects | undefined;
  let named = new Map<string, MembershipDefinition>();
  let lingering = new Map<string, MembershipDefinition>();
  let definitions: readonly MembershipDefinition[] = [];
  let sinceMs = new Map<string, number>();

  const readAnew = (objects: ReadObjects): void => {
    const before = named;
    named = new Map(neededMemberships(objects).map((definition) => [definition.key, definition]));
    const left = [...lingering, ...before].filter(([key]) => !named.has(key));
    lingering = new Map(left.slice(-lingeringMax));
    read = objects;
    definitions = [...named.values(), ...lingering.values()];
  };

  return (objects, sliced) => {
    if (objects !== read) readAnew(objects);
    const nowMs = clock();
    const unnamed = new Set<string>([...lingering.keys(), ...sliced].filter((key) => !named.has(key)));
    sinceMs = new Map([...unnamed].map((key) => [key, sinceMs.get(key) ?? nowMs]));
    const unneeded = new Set([...unnamed].filter((key) => nowMs - (sinceMs.get(key) ?? nowMs) >= unneededSettleMs));
    const over = [...unneeded].filter((key) => lingering.delete(key));
    if (over.length > 0) definitions = [...named.values(), ...lingering.values()];
    return { definitions, unneeded, waiting: unnamed.size > unneeded.size };
  };
}
