// What the server says when it says no: a Status object or an HTTP status, as a fault of the error table.

import { z } from "zod";
import { Fault, type FaultCode } from "../base/fault.ts";
import { clip } from "../cni/quote.ts";

/** Longest piece of the server's words in a message. */
const wordsLenMax = 500;

/** Status of meta/v1, as far as we read it; whatever is of another type is taken as absent. */
const statusSchema = z.object({
  code: z.int().optional().catch(undefined),
  reason: z.string().optional().catch(undefined),
  message: z.string().optional().catch(undefined),
  details: z
    .object({ causes: z.array(z.object({ reason: z.string().optional() })).optional() })
    .optional()
    .catch(undefined),
});

/** `what` was asked ("GET /api/v1/pods"), `http` answered, `body` is its text. `extra` goes into the fault's data. */
export function statusFault(what: string, http: number, body: string, extra: Record<string, unknown> = {}): Fault {
  const status = statusSchema.safeParse(parsed(body)).data;
  const words = status?.message ?? (body.trim() === "" ? "no words" : body);
  return faultOf(what, http, status?.reason, words, {
    ...extra,
    causes: status?.details?.causes?.flatMap(({ reason }) => reason ?? []),
  });
}

/** The fault of a Status that came as an ERROR event of a watch. */
export function eventFault(what: string, object: unknown): Fault {
  const status = statusSchema.safeParse(object).data;
  if (status?.code === undefined) return new Fault("kube-answer", `${what}: the watch told an error that is no Status`);
  return faultOf(what, status.code, status.reason, status.message ?? "no words", {
    causes: status.details?.causes?.flatMap(({ reason }) => reason ?? []),
  });
}

function faultOf(
  what: string,
  http: number,
  reason: string | undefined,
  words: string,
  data: Record<string, unknown>,
): Fault {
  const shown = `${http}${reason === undefined ? "" : ` ${clip(reason, 64)}`}`;
  return new Fault(codeOf(http, reason), `${what}: the server says ${shown}: ${clip(words, wordsLenMax)}`, {
    data: { ...data, status: http, reason },
  });
}

function codeOf(http: number, reason: string | undefined): FaultCode {
  if (http === 404) return "kube-not-found";
  if (http === 409) return reason === "AlreadyExists" ? "kube-exists" : "kube-conflict";
  if (http === 410) return "kube-expired";
  if (http === 401) return "kube-unauthorized";
  if (http === 429 || http >= 500) return "kube-busy";
  return http >= 400 ? "kube-refused" : "kube-answer";
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
