// JSON from outside the program (plugins, `ip -j`, files of an earlier run): read against a schema or refused by name.

import type { z } from "zod";
import { Fault } from "../src/base/fault.ts";

/** A file error's code ("ENOENT"); undefined for any other error. */
export function fileErrorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/**
 * Parses `text` as JSON of the form `schema`; `what` names it in messages.
 * @throws Fault "lab-failed" where it is no JSON, or with the path of the first wrong field.
 */
export function readJson<S extends z.ZodType>(schema: S, text: string, what: string): z.output<S> {
  const parsed = schema.safeParse(parse(text, what));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue === undefined || issue.path.length === 0 ? "" : ` at ${issue.path.join(".")}`;
  throw new Fault("lab-failed", `${what}${path}: ${issue?.message ?? "not as it should be"}`);
}

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Fault("lab-failed", `${what} is no JSON: ${JSON.stringify(text.slice(0, 200))}`, { cause });
  }
}
