// Whether a row proves anything: the named test has to fail, it alone, and for a reason that a program can have.

import type { Row } from "./list.ts";
import type { Seen } from "./trial.ts";

/** "red" is what a row is for; every other mark comes with what was seen instead. */
export type Mark = "red" | "stale" | "control" | "green" | "other" | "skipped" | "broken";

export interface Verdict {
  mark: Mark;
  /** Of "red": the words of the test. */
  why: string;
}

/** Of a change that says what no program can mean; assertions of ours have other words. */
const slips = /\bReferenceError\b|is not defined\b|does not provide an export|before initialization/;

/** Judges what was seen with the change made. */
export function verdictOf({ test: { name } }: Pick<Row, "test">, { ends, trouble }: Seen): Verdict {
  const own = endOf(name, ends);
  if (own?.ended === "failed") return { mark: slips.test(own.why) ? "broken" : "red", why: own.why };
  if (own?.ended === "skipped") return { mark: "skipped", why: "the test did not run" };
  const other = ends.find(({ ended }) => ended === "failed");
  if (other !== undefined) return { mark: "other", why: `"${other.name}" fails: ${other.why}` };
  if (own?.ended === "passed" && trouble === undefined) return { mark: "green", why: "the test passes all the same" };
  return { mark: "broken", why: trouble ?? "the test did not run" };
}

/** Judges what was seen of the tree as it is: undefined where the test passed, as it must. */
export function controlOf({ test: { name } }: Pick<Row, "test">, { ends, trouble }: Seen): Verdict | undefined {
  const own = endOf(name, ends);
  if (own?.ended === "passed") return undefined;
  if (own?.ended === "skipped") return { mark: "skipped", why: "the test does not run here" };
  return { mark: "control", why: `without the change: ${own?.why ?? trouble ?? "the test did not run"}` };
}

/** Of several by one name, as steps of a scenario can be, one that fails counts. */
function endOf(name: string, ends: Seen["ends"]): Seen["ends"][number] | undefined {
  const named = ends.filter((end) => end.name === name);
  return named.find(({ ended }) => ended === "failed") ?? named[0];
}
