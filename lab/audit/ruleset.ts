// What `nft list ruleset` prints, in pieces that can be compared.

/** The text of each table, by family and name. */
export function tablesIn(ruleset: string): Map<string, string> {
  return new Map(
    [...ruleset.matchAll(/^table (\S+ \S+) \{\n([\s\S]*?)^\}/gm)].map(([, name = "", body = ""]) => [name, body]),
  );
}

/** The elements of a named set, over as many lines as they take. */
export const elements = /^\s*elements = \{([^}]*)\}$/gm;

/** The lines of a table without blanks and closing braces, the words of a rule's own sets in order. */
export function linesOf(text: string): string[] {
  return text
    .split("\n")
    .map((line) =>
      line.trim().replaceAll(/\{ ([^{}]*) \}/g, (_, set: string) => `{ ${set.split(", ").sort().join(", ")} }`),
    )
    .filter((line) => line !== "" && line !== "}");
}
