// An answer as it goes out.

import type { Json } from "./value.ts";

export interface Answer {
  code: number;
  /** JSON in UTF-8. */
  body: Buffer;
  /** For people, as Warning headers. */
  warnings?: readonly string[];
  retryAfterSeconds?: number | undefined;
  /** JSON if absent. */
  contentType?: string;
}

export const jsonAnswer = (code: number, value: Json): Answer => ({ code, body: Buffer.from(JSON.stringify(value)) });
