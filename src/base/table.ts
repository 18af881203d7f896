// The one table printer: columns aligned for people, nothing else.

import { visible } from "./visible.ts";

/** Gives rows under headings as aligned text, one line each, no trailing spaces. In cells, which can be others' words, what is no visible character is escaped. */
export function formatTable(headings: readonly string[], given: readonly (readonly string[])[]): string {
  const rows = given.map((row) => row.map(visible));
  const widths = headings.map((heading, column) =>
    Math.max(displayWidth(heading), ...rows.map((row) => displayWidth(row[column] ?? ""))),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell + " ".repeat(Math.max(0, (widths[column] ?? 0) - displayWidth(cell))))
      .join("   ")
      .trimEnd();
  return [line(headings), ...rows.map(line)].join("\n");
}

function displayWidth(text: string): number {
  return Array.from(text).length;
}
