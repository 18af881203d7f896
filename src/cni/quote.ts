// Text from outside inside our own messages: cut to a bound, and with nothing in it that a terminal or a log line would obey.

import { visible } from "../base/visible.ts";

/** Longest piece of foreign text that a message quotes, in characters. */
export const quoteLengthMax = 64;

/** `text` in double quotes, cut to `quoteLengthMax` characters, control characters escaped. */
export function quote(text: string): string {
  return `"${visible(cut(text, quoteLengthMax).replaceAll(/["\\]/g, String.raw`\$&`))}"`;
}

/** `text` with control characters escaped, cut to `lengthMax` characters. */
export function clip(text: string, lengthMax: number): string {
  return cut(visible(cut(text, lengthMax)), lengthMax);
}

/** Never between the two halves of one character: half of one is no text. */
function cut(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text;
  const end = lengthMax - 1;
  return `${text.slice(0, (text.codePointAt(end - 1) ?? 0) > 0xffff ? end - 1 : end)}…`;
}
