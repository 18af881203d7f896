// What must be true or the program is wrong: a failed assertion is a bug of ours, and crashing is the right answer to it.

import { Fault } from "./fault.ts";

/** Throws Fault "bug" unless `condition` holds. `message` says what was expected. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Fault("bug", `assertion failed: ${message}`);
}

/** Gives `value`, which must be there; `what` names it. */
export function present<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new Fault("bug", `assertion failed: ${what} is missing`);
  return value;
}

/** For the branch that the types say cannot be reached. */
export function unreachable(value: never, what: string): never {
  throw new Fault("bug", `assertion failed: unexpected ${what} ${JSON.stringify(value)}`);
}
