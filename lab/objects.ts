// Objects that a scenario brings along: YAML files applied and deleted as kubectl would, labels changed, namespaces made.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { Fault } from "../src/base/fault.ts";
import { accepted, type Api } from "./api.ts";
import { type LabelChanges, type Labels, namespaceDefault } from "./pod-object.ts";

/** Objects in one file. */
const objectsMax = 100;
/** An object that others write too is read again so often before it counts as refused. */
const replaceTriesMax = 10;

const directory = fileURLToPath(new URL("scenarios/objects/", import.meta.url));

const objectSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});
export type NamedObject = z.output<typeof objectSchema>;

const resourcesSchema = z.object({
  resources: z.array(z.object({ name: z.string(), kind: z.string(), namespaced: z.boolean() })),
});
const versionSchema = z.object({ metadata: z.object({ resourceVersion: z.string() }) });

export interface ObjectCalls {
  addNamespace(name: string, labels: Labels): Promise<void>;
  labelPod(name: string, namespace: string, labels: LabelChanges): Promise<void>;
  labelNamespace(name: string, labels: LabelChanges): Promise<void>;
  /** Makes or replaces every object of a file. @throws Fault "lab-failed" with the server's words at the first that it refuses */
  applyFile(file: string): Promise<void>;
  /** @throws Fault "lab-failed" where one of them is not there */
  deleteFile(file: string): Promise<void>;
  /** What the status of a SecurityGroup says, in one line. @throws Fault "lab-failed" where there is no such group */
  groupStatus(name: string): Promise<string>;
}

const groupSchema = z.object({
  status: z
    .object({ members: z.number(), nodesEnforcing: z.number().optional(), nodesTotal: z.number().optional() })
    .optional(),
});

/** The objects of a file of lab/scenarios/objects, in order. @throws Fault "lab-failed" where it is not there or has none */
export function readObjects(file: string): NamedObject[] {
  const path = directory + file;
  if (!existsSync(path)) throw new Fault("lab-failed", `there is no file ${file} in ${directory}`);
  const documents = parseAllDocuments(readFileSync(path, "utf8"));
  if (documents.length === 0 || documents.length > objectsMax)
    throw new Fault("lab-failed", `${file} holds ${documents.length} objects; a file has 1 to ${objectsMax}`);
  return documents.map((document, index) => {
    const [error] = document.errors;
    const read = objectSchema.safeParse(document.toJS());
    if (error === undefined && read.success) return read.data;
    const why = error?.message ?? "it needs apiVersion, kind and metadata.name";
    throw new Fault("lab-failed", `${file}, object ${index + 1}: ${why}`);
  });
}

/** Calls by an administrator. */
export function objectCalls(api: Api): ObjectCalls {
  const patch = async (path: string, labels: LabelChanges): Promise<void> =>
    void (await api.must("PATCH", path, { metadata: { labels } }, "application/merge-patch+json"));
  return {
    addNamespace: async (name, labels) =>
      void (await api.must("POST", "/api/v1/namespaces", { metadata: { name, labels } })),
    labelPod: (name, namespace, labels) => patch(`/api/v1/namespaces/${namespace}/pods/${name}`, labels),
    labelNamespace: (name, labels) => patch(`/api/v1/namespaces/${name}`, labels),
    applyFile: async (file) => {
      for (const object of readObjects(file)) await told(file, object, applyObject(api, object));
    },
    groupStatus: async (name) => {
      const { status } = groupSchema.parse(await api.must("GET", `/apis/fairlead.dev/v1alpha1/securitygroups/${name}`));
      const { members = 0, nodesEnforcing = 0, nodesTotal = 0 } = status ?? {};
      return `${members} members, enforced on ${nodesEnforcing} of ${nodesTotal} nodes`;
    },
    deleteFile: async (file) => {
      for (const object of readObjects(file).toReversed())
        await told(
          file,
          object,
          collectionOf(api, object).then((path) => api.must("DELETE", `${path}/${object.metadata.name}`)),
        );
    },
  };
}

async function applyObject(api: Api, object: NamedObject): Promise<void> {
  const collection = await collectionOf(api, object);
  const path = `${collection}/${object.metadata.name}`;
  for (let attempt = 1; ; attempt += 1) {
    const { status, body } = await api.ask("GET", path);
    if (status === 404) return void (await api.must("POST", collection, object));
    const { resourceVersion } = versionSchema.parse(body).metadata;
    const wanted = { ...object, metadata: { ...object.metadata, resourceVersion } };
    const answer = await api.ask("PUT", path, wanted);
    // The controller may have written the object's status between the two calls.
    if (answer.status === 409 && attempt < replaceTriesMax) continue;
    return void accepted(answer, `PUT ${path}`);
  }
}

/** Where objects of this kind and namespace are, as the server's discovery tells. */
async function collectionOf(api: Api, { apiVersion, kind, metadata }: NamedObject): Promise<string> {
  const root = `/${apiVersion.includes("/") ? "apis" : "api"}/${apiVersion}`;
  const { resources } = resourcesSchema.parse(await api.must("GET", root));
  const resource = resources.find((one) => one.kind === kind && !one.name.includes("/"));
  if (resource === undefined) throw new Fault("lab-failed", `the server knows no kind ${kind} in ${apiVersion}`);
  const place = resource.namespaced ? `/namespaces/${metadata.namespace ?? namespaceDefault}` : "";
  return `${root}${place}/${resource.name}`;
}

/** A failure names file and object. */
async function told(file: string, { kind, metadata }: NamedObject, work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (cause) {
    throw new Fault("lab-failed", `${file}: ${kind} ${metadata.name}`, { cause });
  }
}
