// How one form of a scenario's steps is written down: its shape for people, its pattern, and what reads it.

import type { Action, Expectation } from "./actions.ts";

export interface Form {
  /** As people are told; capital words stand for names, brackets for what may be left out. */
  shape: string;
  pattern: RegExp;
  /** Gives the action, or what is wrong with the words. */
  read: (groups: Readonly<Record<string, string | undefined>>) => Action | string;
}

/** `{v4}`, `{v6}` or `{NAME.v4}`, `{NAME.v6}` in a command or in the words of a failure. */
export const placeholder = /\{(?:([a-z][a-z0-9-]*)\.)?v([46])\}/g;

/** Expectations hold at once unless a step says `within`. */
const withinMaxSeconds = 120;

/** NAME in a pattern. */
const name = "[a-z][a-z0-9-]{0,30}";
/** The pattern of a whole step; NAME in it stands for a name. */
export function pattern(words: string): RegExp {
  return new RegExp(`^${words.replaceAll("NAME", name)}$`);
}

interface ExpectationForm {
  words: string;
  read: (groups: Readonly<Record<string, string | undefined>>) => Expectation | string;
}

/** An expectation, which may begin with `within`. */
export function expectation(shape: string, { words, read }: ExpectationForm): Form {
  return {
    shape: `[within SECONDSs] expect ${shape}`,
    pattern: pattern(`(?:within (?<seconds>\\d{1,4})s )?expect ${words}`),
    read: (groups) => {
      const seconds = Number(groups["seconds"] ?? 0);
      if (seconds > withinMaxSeconds) return `wait at most ${withinMaxSeconds} s`;
      const found = read(groups);
      return typeof found === "string" ? found : { do: "expect", expectation: found, withinMs: seconds * 1000 };
    },
  };
}
