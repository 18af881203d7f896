// What an audit found, and the two ways of finding it that every part of the comparison uses.

export interface Difference {
  /** One sentence in plain words that names the thing. */
  what: string;
  /** True where the agent may be about to put it right: it is worth another look. */
  mayPass: boolean;
}

/** A difference that nobody will put right. */
export function differs(what: string): Difference {
  return { what, mayPass: false };
}

/** A difference where `held` is none. */
export function unless(held: boolean, what: string): Difference[] {
  return held ? [] : [differs(what)];
}

/** How the parts of two lists that do not match are told. */
export interface Words {
  missing: (text: string) => string;
  extra: (text: string) => string;
}

/** What is in one list of texts and not in the other. One that is there twice and wanted once is one too many. */
export function compareTexts(wanted: readonly string[], held: readonly string[], words: Words): Difference[] {
  const counts = new Map<string, number>();
  for (const text of wanted) counts.set(text, (counts.get(text) ?? 0) + 1);
  for (const text of held) counts.set(text, (counts.get(text) ?? 0) - 1);
  return [...counts].flatMap(([text, count]) => {
    if (count === 0) return [];
    return [differs(count > 0 ? words.missing(text) : words.extra(text))];
  });
}
