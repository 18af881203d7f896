// Pieces of the schemas of API objects: metadata, addresses and names with the bounds that a server needs to know.

import { z } from "zod";
import { toCidr, toIp } from "../net/schema.ts";
import type { Kind, KubeObject, Meta } from "./contract.ts";

/** Metadata as we keep it. */
export const meta: z.ZodType<Meta> = z.object({
  name: z.string(),
  namespace: z.string().exactOptional(),
  uid: z.string().exactOptional(),
  resourceVersion: z.string().exactOptional(),
  generation: z.number().exactOptional(),
  labels: z.record(z.string(), z.string()).exactOptional(),
  annotations: z.record(z.string(), z.string()).exactOptional(),
  deletionTimestamp: z.string().exactOptional(),
  creationTimestamp: z.string().exactOptional(),
  ownerReferences: z
    .array(z.object({ apiVersion: z.string(), kind: z.string(), name: z.string(), uid: z.string() }))
    .exactOptional(),
  finalizers: z.array(z.string()).exactOptional(),
});

/**
 * For `.meta`: what the API server checks by CEL, since a schema cannot say it. Rules over lists need their bounds, or the server
 * cannot tell what they cost. The functions for addresses are those of Kubernetes 1.31.
 */
export function serverRule(rule: string, message: string): Record<string, unknown> {
  return serverRules([rule, message]);
}

/** The same for several: each a rule and its message. */
export function serverRules(...rules: readonly (readonly [rule: string, message: string])[]): Record<string, unknown> {
  return { "x-kubernetes-validations": rules.map(([rule, message]) => ({ rule, message })) };
}

/** For `.meta`: entries are told apart by these keys, each combination once. Without it a list is one value. */
export function listByKeys(...keys: string[]): Record<string, unknown> {
  return { "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys };
}

/** For `.meta`: no entry twice. */
export const listIsSet: Record<string, unknown> = { "x-kubernetes-list-type": "set" };

/** Longest text of an address or network. */
const addressTextMax = 43;

/** An IP address; canonical when read. */
export const ip = z
  .string()
  .max(addressTextMax)
  .transform(toIp)
  .meta(serverRule("isIP(self)", "must be an IP address"));

/** A network with no bits set after its prefix. */
export const cidr = z
  .string()
  .max(addressTextMax)
  .transform(toCidr)
  .meta(
    serverRule(
      "isCIDR(self) && cidr(self) == cidr(self).masked()",
      "must be a network such as 10.4.1.0/24, with no bits set after its prefix",
    ),
  );

/** A name that the server checks (RFC 1123). */
export const objectName = z.string().min(1).max(253);
export const uid = z.string().min(1).max(64);

/** Makes a kind of its wire names and the schema of what we keep. */
export function defineKind<S extends z.ZodType<KubeObject>>(
  names: Omit<Kind<z.output<S>>, "parse">,
  schema: S,
): Kind<z.output<S>> {
  return {
    ...names,
    parse: (raw) => {
      const read = schema.safeParse(raw);
      return read.success ? read.data : schema.parse(withoutNulls(raw));
    },
  };
}

/** Servers write null for what is absent: times of conditions and events, lists. Seldom, so only what fails pays for it. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== null)
      .map(([key, member]) => [key, withoutNulls(member)]),
  );
}
