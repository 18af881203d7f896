// Objects of Kubernetes out of YAML files: pods and what makes pods, namespaces, policies. For nodes and reviewers without an API server.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { describe, Fault } from "../base/fault.ts";
import { namespaceNameLabel } from "../policy/membership.ts";
import type { PolicyObjects } from "../policy/model.ts";
import { objectTitle, type Problem } from "../policy/problem.ts";
import type { Kind, KubeObject } from "./contract.ts";
import { type Node, nodes, type Pod, pods } from "./core-objects.ts";
import { isPolicyOfOthers, podMakers, usualVersion, versionOf, wrongKind } from "./file-kinds.ts";
import {
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "./policy-objects.ts";
import { parseStrictly } from "./strict.ts";

const filesMax = 10_000;
const fileLenMax = 16 * 1024 * 1024;
const objectsMax = 50_000;
const namespaceDefault = "default";

/** One object as it is written. */
interface Raw {
  /** File, and which object of it: for messages. */
  where: string;
  apiVersion: string;
  kind: string;
  value: Readonly<Record<string, unknown>>;
}

const rawSchema = z.looseObject({ apiVersion: z.string(), kind: z.string() });
const almostSchema = z.looseObject({
  metadata: z.unknown().optional(),
  spec: z.unknown().optional(),
  items: z.unknown().optional(),
});
const listSchema = z.looseObject({ items: z.array(z.unknown()) });
const metaSchema = z.looseObject({ name: z.string().min(1), namespace: z.string().optional() });
const withMeta = z.looseObject({ metadata: metaSchema });
const template = z.looseObject({
  metadata: z.looseObject({ labels: z.record(z.string(), z.string()).optional() }).optional(),
  spec: z.looseObject({}),
});
/** Deployment, StatefulSet, DaemonSet, ReplicaSet, Job; of a CronJob what stands in `jobTemplate`. */
const workloadSchema = z.looseObject({ metadata: metaSchema, spec: z.looseObject({ template }) });
const cronSchema = z.looseObject({
  metadata: metaSchema,
  spec: z.looseObject({ jobTemplate: z.looseObject({ spec: z.looseObject({ template }) }) }),
});

const readKinds: readonly Kind<KubeObject>[] = [
  pods,
  nodes,
  namespaces,
  serviceAccounts,
  networkPolicies,
  securityGroups,
  securityGroupBindings,
  securityGroupPolicies,
];

/** What files say. */
export interface FileObjects<Further extends KubeObject = never> {
  pods: Pod[];
  nodes: Node[];
  policy: PolicyObjects;
  /** Namespaces that something is in and that no file has; they are among those of `policy`, without labels of their own. */
  namespacesMissing: string[];
  /** Policies of others, which are not read. */
  problems: Problem[];
  /** How many objects were read, of whatever kind. */
  count: number;
  /** Of the kind that was asked for beside these. */
  further: Further[];
}

/**
 * Reads every file *.yaml, *.yml and *.json of `paths`, which are files or directories, with all below them.
 * `addressOf` gives addresses to the pods that have no status, by their number; `further` is a kind beside those that are always read.
 * @throws Fault "not-found" where one is not there, "bad-config" that names file, object and what is wrong
 */
export function readObjectFiles<Further extends KubeObject = never>(
  paths: readonly string[],
  addressOf: (index: number) => { ip: string }[] = () => [],
  further?: Kind<Further>,
): FileObjects<Further> {
  const files = paths.flatMap(objectFilesBelow);
  if (files.length > filesMax) throw new Fault("bad-config", `more than ${filesMax} files; name fewer directories`);
  const raws = files.flatMap(readFile);
  if (raws.length > objectsMax) throw new Fault("bad-config", `more than ${objectsMax} objects; name fewer files`);
  const of = <T extends KubeObject>(kind: Kind<T>): T[] =>
    raws.filter((raw) => isOf(raw, kind)).map((raw) => parsed(raw, kind));
  const written = [...raws.filter((raw) => isOf(raw, pods)), ...raws.flatMap(podOf)];
  const made = written.map((raw, index) => parsed(placed(raw, addressOf(index)), pods));
  for (const kind of readKinds) refuseTwins(kind === pods ? written : raws.filter((raw) => isOf(raw, kind)), kind);
  const known = of(namespaces).map(withNameLabel);
  const mentioned = new Set(made.map(({ metadata }) => metadata.namespace ?? namespaceDefault));
  const missing = [...mentioned].filter((name) => !known.some(({ metadata }) => metadata.name === name));
  return {
    pods: made,
    nodes: of(nodes),
    policy: {
      namespaces: [...known, ...missing.map((name) => withNameLabel(namespaces.parse({ metadata: { name } })))],
      serviceAccounts: inNamespace(of(serviceAccounts)),
      networkPolicies: inNamespace(of(networkPolicies)),
      groups: of(securityGroups),
      bindings: inNamespace(of(securityGroupBindings)),
      groupPolicies: inNamespace(of(securityGroupPolicies)),
    },
    namespacesMissing: missing,
    problems: raws.filter(({ apiVersion, kind }) => isPolicyOfOthers(apiVersion, kind)).map(passedOver),
    count: raws.length,
    further: further === undefined ? [] : inNamespace(of(further)),
  };
}

/** The files of a directory that `readObjectFiles` reads, sorted; of a file, itself. @throws Fault "not-found" */
export function objectFilesBelow(path: string): string[] {
  if (!existsSync(path)) throw new Fault("not-found", `there is no file or directory ${path}`);
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path, { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort()
    .map((name) => join(path, name));
}

function readFile(file: string): Raw[] {
  if (statSync(file).size > fileLenMax) throw new Fault("bad-config", `${file} is larger than ${fileLenMax} bytes`);
  return parseAllDocuments(readFileSync(file, "utf8")).flatMap((document, index) => {
    const where = `${file}, document ${index + 1}`;
    const [error] = document.errors;
    if (error !== undefined) throw new Fault("bad-config", `${where}: ${error.message}`);
    const value: unknown = document.toJS();
    return value === null ? [] : objectsIn(value, where);
  });
}

/** The object, or those of a List. What is no object of Kubernetes (values of a chart, say) is passed over. */
function objectsIn(value: unknown, where: string): Raw[] {
  const read = rawSchema.safeParse(value);
  if (!read.success) {
    refuseNameless(value, where);
    return [];
  }
  const { apiVersion, kind } = read.data;
  const isList = kind.endsWith("List");
  const wrong = wrongKind(apiVersion, isList ? kind.slice(0, -"List".length) : kind);
  if (wrong !== undefined) throw new Fault("bad-config", `${where}: ${titleOf(kind, value)}: ${wrong}`);
  if (!isList) return [{ where, apiVersion, kind, value: read.data }];
  const list = listSchema.safeParse(value);
  if (!list.success && kind === "List") throw new Fault("bad-config", `${where}: a List: items: is no list of objects`);
  if (!list.success) return [];
  // Of a list of one kind the server writes the kind once.
  const common = kind === "List" ? {} : { apiVersion, kind: kind.slice(0, -"List".length) };
  return list.data.items.flatMap((item, index) =>
    objectsIn(typeof item === "object" ? { ...common, ...item } : item, `${where}, item ${index + 1}`),
  );
}

/** What looks like an object that would be read, and lacks one of the two words that say what it is. */
function refuseNameless(value: unknown, where: string): void {
  const { success, data } = almostSchema.safeParse(value);
  if (!success || (data.metadata ?? data.spec ?? data.items) === undefined) return;
  const { apiVersion, kind } = data;
  if (typeof apiVersion === "string" && data.metadata !== undefined)
    throw new Fault("bad-config", `${where}: ${titleOf("an object", value)}: kind: is missing`);
  const right = typeof kind === "string" ? usualVersion(kind) : undefined;
  if (right !== undefined)
    throw new Fault("bad-config", `${where}: ${titleOf(String(kind), value)}: apiVersion: is missing; write ${right}`);
}

function isOf({ apiVersion, kind }: Raw, wanted: Kind<KubeObject>): boolean {
  return kind === wanted.kind && apiVersion === versionOf(wanted);
}

/** Told of policies that judge nothing here. */
function passedOver({ where, kind, value }: Raw): Problem {
  return { object: titleOf(kind, value), path: where, message: "passed over, Fairlead does not read it" };
}

function parsed<T extends KubeObject>({ where, kind: title, value }: Raw, kind: Kind<T>): T {
  try {
    return parseStrictly(kind, value);
  } catch (error) {
    throw new Fault("bad-config", `${where}: ${titleOf(title, value)}: ${describe(error)}`);
  }
}

function titleOf(kind: string, value: unknown): string {
  const { success, data } = withMeta.safeParse(value);
  if (!success) return `${kind} without a name`;
  const { name, namespace } = data.metadata;
  return objectTitle(kind, { name, ...(namespace === undefined ? {} : { namespace }) });
}

/** A pod as the workload's template makes it, under the workload's name. */
function podOf(raw: Raw): Raw[] {
  if (!podMakers.has(raw.kind)) return [];
  const read = (raw.kind === "CronJob" ? cronSchema : workloadSchema).safeParse(raw.value);
  if (!read.success)
    throw new Fault("bad-config", `${raw.where}: ${raw.kind} without a name, or without a pod template`);
  const { metadata, spec } = read.data;
  const made =
    "template" in spec ? template.parse(spec["template"]) : cronSchema.parse(raw.value).spec.jobTemplate.spec.template;
  const { name, namespace } = metadata;
  const value = { metadata: { ...made.metadata, name, namespace }, spec: made.spec };
  return [{ ...raw, apiVersion: "v1", kind: "Pod", value }];
}

/** With a namespace, and with these addresses where it has no status; where it is bound to no node, on one without a name. */
function placed(raw: Raw, addresses: readonly { ip: string }[]): Raw {
  const read = withMeta.safeParse(raw.value);
  if (!read.success) throw new Fault("bad-config", `${raw.where}: a pod without a name`);
  const { metadata } = read.data;
  const { spec, status } = podParts.parse(raw.value);
  const name = metadata.namespace ?? namespaceDefault;
  return {
    ...raw,
    value: {
      ...raw.value,
      metadata: { ...metadata, namespace: name, uid: `${name}/${metadata.name}` },
      spec: { nodeName: "", ...spec },
      status: { ...(addresses.length === 0 ? {} : { podIPs: addresses }), ...status },
    },
  };
}

const podParts = z.looseObject({ spec: z.looseObject({}).prefault({}), status: z.looseObject({}).prefault({}) });

/** One of the two would count, and people would read the other. */
function refuseTwins(raws: readonly Raw[], kind: Kind<KubeObject>): void {
  const seen = new Map<string, string>();
  const what = kind === pods ? "a pod, or what makes pods," : "one";
  for (const { where, value } of raws) {
    const read = withMeta.safeParse(value);
    if (!read.success) continue; // refused where it is parsed
    const { name, namespace = namespaceDefault } = read.data.metadata;
    const title = objectTitle(kind.kind, kind.namespaced ? { namespace, name } : { name });
    const first = seen.get(title);
    if (first !== undefined)
      throw new Fault(
        "bad-config",
        `${where}: ${title}: ${first} has ${what} of that name, too; leave one of them out`,
      );
    seen.set(title, where);
  }
}

/** As the API server labels it. */
function withNameLabel<T extends KubeObject & { metadata: { labels?: Record<string, string> } }>(object: T): T {
  const { metadata } = object;
  return {
    ...object,
    metadata: { ...metadata, labels: { ...metadata.labels, [namespaceNameLabel]: metadata.name } },
  };
}

/** What names no namespace is in the default one. */
function inNamespace<T extends KubeObject>(objects: readonly T[]): T[] {
  return objects.map((object) => ({
    ...object,
    metadata: { ...object.metadata, namespace: object.metadata.namespace ?? namespaceDefault },
  }));
}
