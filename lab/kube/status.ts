// Refusals as the Kubernetes API words them: a Status object with code, reason, message and details.

import type { JsonObject } from "./value.ts";

/** A kind of resource as messages name it. */
export interface Named {
  group: string;
  plural: string;
  kind: string;
}

/** One wrong field of an object. */
export interface Cause {
  reason: string;
  message: string;
  field: string;
}

export interface StatusParts {
  name?: string;
  group?: string;
  /** The resource's plural; its kind where an object is invalid. */
  kind?: string;
  uid?: string;
  causes?: readonly Cause[];
  retryAfterSeconds?: number;
}

/** Why a request is not carried out. */
export class Refusal extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusParts | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusParts) {
    super(message);
    this.name = "Refusal";
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  /** The Status object that the client gets. */
  body(): JsonObject {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      ...(this.reason === "" ? {} : { reason: this.reason }),
      ...(this.details === undefined ? {} : { details: detailsJson(this.details) }),
      code: this.code,
    };
  }
}

function detailsJson({ name, group, kind, uid, causes, retryAfterSeconds }: StatusParts): JsonObject {
  return {
    ...(name === undefined || name === "" ? {} : { name }),
    ...(group === undefined || group === "" ? {} : { group }),
    ...(kind === undefined ? {} : { kind }),
    ...(uid === undefined ? {} : { uid }),
    ...(causes === undefined ? {} : { causes: causes.map((cause) => ({ ...cause })) }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
}

/** "nodes", "leases.coordination.k8s.io": a resource in messages. */
export const qualified = ({ group, plural }: Named): string => (group === "" ? plural : `${plural}.${group}`);

const detailsOf = ({ group, plural }: Named, name: string): StatusParts => ({ name, group, kind: plural });

export const badRequest = (message: string): Refusal => new Refusal(400, "BadRequest", message);

/** What the server words as an error of its own though the request is wrong: a 500 without a reason. */
export const unexplained = (message: string): Refusal => new Refusal(500, "", message);

export const notFound = (what: Named, name: string): Refusal =>
  new Refusal(404, "NotFound", `${qualified(what)} "${name}" not found`, detailsOf(what, name));

/** No such path, or no such kind: the one refusal that is no Status object but plain words. */
export class NoSuchPath extends Refusal {
  constructor() {
    super(404, "NotFound", "404 page not found\n");
    this.name = "NoSuchPath";
  }
}

export const alreadyExists = (what: Named, name: string): Refusal =>
  new Refusal(409, "AlreadyExists", `${qualified(what)} "${name}" already exists`, detailsOf(what, name));

export const conflict = (what: Named, name: string, why: string): Refusal =>
  new Refusal(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(what)} "${name}": ${why}`,
    detailsOf(what, name),
  );

export const staleVersion = (what: Named, name: string): Refusal =>
  conflict(what, name, "the object has been modified; please apply your changes to the latest version and try again");

export const forbidden = (what: Named, name: string, why: string, causes?: readonly Cause[]): Refusal =>
  new Refusal(403, "Forbidden", `${qualified(what)} "${name}" is forbidden: ${why}`, {
    ...detailsOf(what, name),
    ...(causes === undefined ? {} : { causes }),
  });

/** 422 with every wrong field. */
export function invalid(what: Pick<Named, "group" | "kind">, name: string, causes: readonly Cause[]): Refusal {
  const lines = causes.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`));
  const all = lines.length === 1 ? (lines[0] ?? "") : `[${lines.join(", ")}]`;
  const kind = what.group === "" ? what.kind : `${what.kind}.${what.group}`;
  return new Refusal(422, "Invalid", `${kind} "${name}" is invalid: ${all}`, {
    name,
    group: what.group,
    kind: what.kind,
    causes,
  });
}

export const expired = (message: string): Refusal => new Refusal(410, "Expired", message);

export const methodNotAllowed = (): Refusal =>
  new Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});

export const unsupportedMedia = (message: string): Refusal => new Refusal(415, "UnsupportedMediaType", message);

/** A version that this server has not reached: the client read it from another one, or before the store was lost. */
export const tooLargeVersion = (wanted: number, current: number): Refusal =>
  new Refusal(504, "Timeout", `Too large resource version: ${wanted}, current: ${current}`, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version", field: "" }],
    retryAfterSeconds: 1,
  });

/** Wordings of wrong fields, as the server's own validation has them. */
export const wrong = {
  value: (field: string, value: unknown, why: string): Cause => ({
    reason: "FieldValueInvalid",
    message: `Invalid value: ${shown(value)}: ${why}`,
    field,
  }),
  missing: (field: string, why = ""): Cause => ({
    reason: "FieldValueRequired",
    message: why === "" ? "Required value" : `Required value: ${why}`,
    field,
  }),
  duplicate: (field: string, value: unknown): Cause => ({
    reason: "FieldValueDuplicate",
    message: `Duplicate value: ${shown(value)}`,
    field,
  }),
  unsupported: (field: string, value: unknown, supported: readonly string[]): Cause => ({
    reason: "FieldValueNotSupported",
    message: `Unsupported value: ${shown(value)}: supported values: ${supported.map((each) => JSON.stringify(each)).join(", ")}`,
    field,
  }),
  forbidden: (field: string, why: string): Cause => ({
    reason: "FieldValueForbidden",
    message: `Forbidden: ${why}`,
    field,
  }),
  type: (field: string, value: unknown, why: string): Cause => ({
    reason: "FieldValueTypeInvalid",
    message: `Invalid value: ${shown(value)}: ${why}`,
    field,
  }),
  tooMany: (field: string, have: number, most: number): Cause => ({
    reason: "FieldValueTooMany",
    message: `Too many: ${have}: must have at most ${most} items`,
    field,
  }),
  tooLong: (field: string, most: number): Cause => ({
    reason: "FieldValueTooLong",
    message: `Too long: may not be more than ${most} bytes`,
    field,
  }),
} as const;

const shownLenMax = 512;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "null";
  return text.length > shownLenMax ? `${text.slice(0, shownLenMax)}…` : text;
}
