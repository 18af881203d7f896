// Objects of people's files, held to what an API server refuses: what is passed over in silence there may open pods.

import { z } from "zod";
import { pathText, problemWords } from "../base/config.ts";
import { Fault } from "../base/fault.ts";
import { nearest } from "../base/near.ts";
import type { Kind, KubeObject } from "./contract.ts";
import type { MembershipDefinition, Peer } from "../policy/model.ts";
import type { Problem } from "../policy/problem.ts";
import { readBinding, readGroup, readGroupPolicy } from "../policy/read-group.ts";
import { readNetworkPolicy } from "../policy/read-network-policy.ts";
import {
  namespaces,
  networkPolicies,
  networkPolicySchema,
  securityGroupBindings,
  securityGroupBindingSchema,
  securityGroupPolicies,
  securityGroupPolicySchema,
  securityGroups,
  securityGroupSchema,
} from "./policy-objects.ts";

/** Problems told of one object; the rest is counted. */
const problemsShownMax = 3;
/** Keys of every object; what is in metadata and status is the server's affair. */
const objectKeys = ["apiVersion", "kind", "metadata", "spec", "status"];

/** Longest name, and longest name of a namespace (RFC 1123): labels with dots between them, and one label. */
const nameLenMax = 253;
const labelLenMax = 63;
const nameForm = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;

/** A kind of which we know every key. Of the others we read a part. */
interface Whole {
  schema: z.ZodObject;
  /** What its reader finds: of an object that a server has let in it is told, here it is refused. */
  problems(raw: unknown): Problem[];
}

const refer = (definition: MembershipDefinition): Peer => ({ members: definition.key });
const whole = <T extends KubeObject>(
  kind: Kind<T>,
  schema: z.ZodObject,
  read: (object: T, problems: Problem[]) => unknown,
): [Kind<KubeObject>, Whole] => [
  kind,
  {
    schema,
    problems: (raw) => {
      const problems: Problem[] = [];
      read(kind.parse(raw), problems);
      return problems;
    },
  },
];
const wholeKinds = new Map<Kind<KubeObject>, Whole>([
  whole(networkPolicies, networkPolicySchema, (policy, problems) => readNetworkPolicy(policy, refer, problems)),
  whole(securityGroups, securityGroupSchema, (group, problems) => readGroup(group, refer, problems)),
  whole(securityGroupBindings, securityGroupBindingSchema, readBinding),
  whole(securityGroupPolicies, securityGroupPolicySchema, readGroupPolicy),
]);
/** Kinds whose absent keys may be written as null: the server takes it for absent only of kinds of its own. */
const nullable = new Set<Kind<KubeObject>>([networkPolicies]);

/** The part of metadata in which null is no absent key. */
const labelled = z.looseObject({ labels: z.record(z.string(), z.string()).optional() });

/** Text by the path of what is wrong. */
type Problems = Map<string, string>;

/** As `kind.parse`, and of the kinds that say who may talk to whom nothing that a server would refuse. @throws Fault "bad-config": what is wrong, in one line */
export function parseStrictly<T extends KubeObject>(
  kind: Kind<T>,
  { status, ...value }: Readonly<Record<string, unknown>>,
): T {
  const known = wholeKinds.get(kind);
  const problems: Problems = new Map();
  walk(labelled, value["metadata"], ["metadata"], false, problems);
  if (known !== undefined) {
    addUnknown(objectKeys, value, [], problems);
    const spec = known.schema.shape["spec"];
    if (spec !== undefined) walk(spec, value["spec"], ["spec"], !nullable.has(kind), problems);
  }
  // A status is for the server to judge; ours has parts that a newer version may have changed.
  const object = parsed(kind, known === undefined ? { ...value, status } : value, problems);
  if (object !== undefined) addNames(kind, object, problems);
  if (object !== undefined && problems.size === 0) {
    for (const { path, message } of known?.problems(value) ?? [])
      if (path.startsWith("spec")) problems.set(path, message);
  }
  if (object === undefined || problems.size > 0) throw new Fault("bad-config", textOf(problems));
  return object;
}

function parsed<T extends KubeObject>(kind: Kind<T>, value: unknown, problems: Problems): T | undefined {
  try {
    return kind.parse(value);
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    for (const issue of error.issues) problems.set(pathText(issue.path), wordsOf(issue, at(value, issue.path)));
    return undefined;
  }
}

const at = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (whole, key) => (typeof whole === "object" && whole !== null ? Reflect.get(whole, key) : undefined),
    value,
  );

/** How people call what the schemas expect. */
const typeWords = new Map([
  ["object", "a map of keys"],
  ["record", "a map of keys"],
  ["array", "a list"],
  ["string", "text"],
  ["number", "a number"],
  ["int", "a whole number"],
  ["boolean", "true or false"],
]);

/** What is wrong with the value, and what to write where it is plain what was meant. A schema's own words come first. */
function wordsOf(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === "invalid_value" && typeof value === "string") {
    const allowed = issue.values.map(String);
    const near = nearest(value, allowed);
    return `is ${JSON.stringify(value)}; write ${near ?? `one of ${allowed.join(", ")}`}`;
  }
  if (issue.code !== "invalid_type" || value === undefined || !issue.message.startsWith("Invalid input"))
    return problemWords(issue);
  const isPlain = typeof value === "number" || typeof value === "boolean";
  if (issue.expected === "string" && isPlain) return `is ${value} and must be text; write "${value}"`;
  const shown = typeof value === "object" ? (Array.isArray(value) ? "a list" : "a map of keys") : JSON.stringify(value);
  return `is ${shown} and must be ${typeWords.get(issue.expected) ?? issue.expected}`;
}

function textOf(problems: Problems): string {
  const lines = [...problems].map(([path, words]) => `${path}: ${words}`);
  const more = lines.length - problemsShownMax;
  return [...lines.slice(0, problemsShownMax), ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
}

function addNames(kind: Kind<KubeObject>, { metadata: { name, namespace } }: KubeObject, problems: Problems): void {
  const isName = (text: string): boolean => text.length <= nameLenMax && nameForm.test(text);
  const isLabel = (text: string): boolean => text.length <= labelLenMax && nameForm.test(text) && !text.includes(".");
  if (!(kind === namespaces ? isLabel : isName)(name)) problems.set("metadata.name", notName(name));
  if (namespace !== undefined && !isLabel(namespace)) problems.set("metadata.namespace", notName(namespace));
}

const notName = (text: string): string =>
  `${JSON.stringify(text)} is not a name; write lower-case letters, digits and "-", which is at neither end`;

/** Looks at everything below `value` that `schema` has a word for: keys that it has not, and null. */
function walk(
  schema: z.core.$ZodType,
  value: unknown,
  path: readonly PropertyKey[],
  nullIsWrong: boolean,
  problems: Problems,
): void {
  if (value === null && nullIsWrong) problems.set(pathText(path), "has no value; write one, or leave the key away");
  const inner = unwrapped(schema);
  const below = (part: z.core.$ZodType, key: PropertyKey, member: unknown, strict = nullIsWrong): void =>
    walk(part, member, [...path, key], strict, problems);
  if (inner instanceof z.ZodArray && Array.isArray(value))
    value.forEach((member, index) => below(inner.element, index, member));
  if (typeof value !== "object" || value === null || Array.isArray(value)) return;
  if (inner instanceof z.ZodRecord) {
    const most = inner.meta()?.["maxProperties"];
    if (typeof most === "number" && Object.keys(value).length > most)
      problems.set(pathText(path), `has more than ${most} keys`);
    // A label without its value would be one condition less.
    for (const [key, member] of Object.entries(value)) below(inner.valueType, key, member, true);
  }
  if (!(inner instanceof z.ZodObject)) return;
  if (inner.def.catchall === undefined) addUnknown(Object.keys(inner.shape), value, path, problems);
  for (const [key, member] of Object.entries(value)) {
    const part = Object.hasOwn(inner.shape, key) ? inner.shape[key] : undefined;
    if (part !== undefined) below(part, key, member);
  }
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  const isWrapper =
    schema instanceof z.ZodExactOptional || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional;
  return isWrapper ? unwrapped(schema.unwrap()) : schema;
}

function addUnknown(known: readonly string[], value: object, path: readonly PropertyKey[], problems: Problems): void {
  for (const [key, member] of Object.entries(value)) {
    if (known.includes(key)) continue;
    const near = nearest(key, known);
    const cure =
      near !== undefined
        ? `did you mean ${near}?`
        : known.includes("matchLabels") && typeof member === "string"
          ? `write matchLabels: { ${key}: ${JSON.stringify(member)} }`
          : `known here: ${known.join(", ")}`;
    problems.set(pathText([...path, key]), `is not known; ${cure}`);
  }
}
