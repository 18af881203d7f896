// A request as the handler gets it.

import type { Caller } from "./callers.ts";
import type { Route } from "./route.ts";
import { badRequest } from "./status.ts";
import { type Json, parseJson } from "./value.ts";

export interface Call {
  route: Route;
  caller: Caller;
  accept: string;
  /** Without parameters; "" where the client says none. */
  contentType: string;
  body: Buffer;
}

/** The body as JSON; undefined where there is none. @throws Refusal 400 */
export function readJson({ body }: Call): Json | undefined {
  if (body.length === 0) return undefined;
  try {
    return parseJson(body.toString());
  } catch (error) {
    throw badRequest(`the body is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
