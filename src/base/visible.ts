// Text of others as people may see it: nothing in it moves a cursor, hides or forges a line.

const hidden = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Escapes what is no visible character: controls, direction marks, line separators, halves of characters. */
export function visible(text: string): string {
  return text.replaceAll(hidden, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}
