// Makes deploy/crds.yaml, Fairlead's own kinds as the API server checks them, from the schemas of src/kube/.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { z } from "zod";
import type { Kind, KubeObject } from "../src/kube/contract.ts";
import {
  blockLedgers,
  blockLedgerSchema,
  nodeEndpoints,
  nodeEndpointsSchema,
  nodeNetworks,
  nodeNetworkSchema,
} from "../src/kube/objects.ts";
import {
  membershipSlices,
  membershipSliceSchema,
  securityGroupBindings,
  securityGroupBindingSchema,
  securityGroups,
  securityGroupSchema,
} from "../src/kube/policy-objects.ts";

export const crdsFile = fileURLToPath(new URL("../deploy/crds.yaml", import.meta.url));

/** A column of `kubectl get`. */
interface Column {
  name: string;
  type: "string" | "integer" | "date";
  jsonPath: string;
  /** 1: shown by `-o wide` only. */
  priority?: number;
}

interface OwnKind {
  kind: Kind<KubeObject>;
  schema: z.ZodType;
  shortName: string;
  description: string;
  columns: readonly Column[];
}

const age: Column = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };

/** All kinds of ours, and how people meet them. */
export const ownKinds: readonly OwnKind[] = [
  {
    kind: nodeNetworks,
    schema: nodeNetworkSchema,
    shortName: "nn",
    description:
      "What a node asks of its network (spec, written by its agent), and what it has (status, written by the controller).",
    columns: [
      { name: "Block", type: "string", jsonPath: ".status.blocks[0].cidr" },
      { name: "Second", type: "string", jsonPath: ".status.blocks[1].cidr" },
      { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="BlocksReady")].status' },
      { name: "Fault", type: "string", jsonPath: ".spec.faults[0].code" },
      { name: "Agent", type: "string", jsonPath: ".spec.agentVersion" },
      { name: "Addresses", type: "string", jsonPath: ".status.addresses", priority: 1 },
      age,
    ],
  },
  {
    kind: nodeEndpoints,
    schema: nodeEndpointsSchema,
    shortName: "nep",
    description: "The pods that are attached on a node, with their addresses; written by the node's agent.",
    columns: [age],
  },
  {
    kind: blockLedgers,
    schema: blockLedgerSchema,
    shortName: "bl",
    description: "Which blocks of a range are given to nodes; written by the controller before any node sees a block.",
    columns: [
      { name: "Range", type: "string", jsonPath: ".spec.range" },
      { name: "Prefix", type: "integer", jsonPath: ".spec.blockPrefix" },
      { name: "Cursor", type: "integer", jsonPath: ".spec.cursor", priority: 1 },
      age,
    ],
  },
  {
    kind: securityGroups,
    schema: securityGroupSchema,
    shortName: "sg",
    description: "What the pods that bindings make members may be sent and may send; nothing else passes.",
    columns: [
      { name: "Mode", type: "string", jsonPath: ".spec.mode" },
      { name: "Members", type: "integer", jsonPath: ".status.members" },
      { name: "Enforcing", type: "integer", jsonPath: ".status.nodesEnforcing" },
      { name: "Nodes", type: "integer", jsonPath: ".status.nodesTotal" },
      { name: "Enforced", type: "string", jsonPath: '.status.conditions[?(@.type=="Enforced")].reason', priority: 1 },
      age,
    ],
  },
  {
    kind: securityGroupBindings,
    schema: securityGroupBindingSchema,
    shortName: "sgb",
    description: "Makes pods of its namespace members of SecurityGroups.",
    columns: [
      { name: "Groups", type: "string", jsonPath: ".spec.groups" },
      { name: "Pods", type: "integer", jsonPath: ".status.pods" },
      { name: "Accepted", type: "string", jsonPath: '.status.conditions[?(@.type=="Accepted")].status' },
      { name: "Reason", type: "string", jsonPath: '.status.conditions[?(@.type=="Accepted")].reason', priority: 1 },
      age,
    ],
  },
  {
    kind: membershipSlices,
    schema: membershipSliceSchema,
    shortName: "ms",
    description:
      "A part of the addresses that a selector or a SecurityGroup stands for; written by the controller for agents.",
    columns: [
      { name: "Peer", type: "string", jsonPath: ".peer" },
      { name: "Membership", type: "string", jsonPath: ".membership", priority: 1 },
      age,
    ],
  },
];

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The schema of a kind as a CRD has it: structural, with a bound on every text and list below spec, status and the like. */
export function structuralSchema({ schema, description }: Pick<OwnKind, "schema" | "description">): JsonObject {
  const made: Json = JSON.parse(JSON.stringify(z.toJSONSchema(schema, { io: "input", target: "openapi-3.0" })));
  if (!isObject(made) || !isObject(made["properties"])) throw new Error("an API object has properties");
  // The server has its own rules for metadata, and a status comes by its own way.
  const { metadata: _, ...properties } = made["properties"];
  const required = Array.isArray(made["required"]) ? made["required"].filter((name) => name !== "metadata") : [];
  return {
    description,
    ...structural({ ...made, properties, required }),
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      ...mapped(properties),
    },
  };
}

const mapped = (properties: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, structural(value)]));

/** One node of a schema, and all below it. */
function structural(value: Json): JsonObject {
  if (!isObject(value)) throw new Error("a schema is an object");
  const { properties, items, required, $schema: _, additionalProperties, ...rest } = value;
  return {
    ...(rest["type"] === "integer" ? integer(rest) : rest),
    ...(Array.isArray(required) && required.length > 0 ? { required } : {}),
    ...(isObject(properties) ? { properties: mapped(properties) } : {}),
    // "No others" is the server's own rule; of a map it is the schema of the values.
    ...(isObject(additionalProperties) ? { additionalProperties: structural(additionalProperties) } : {}),
    ...(items === undefined ? {} : { "x-kubernetes-list-type": "atomic", ...listForm(rest), items: structural(items) }),
  };
}

const listForm = (rest: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(rest).filter(([key]) => key.startsWith("x-kubernetes-list-")));

/** What zod says of every integer is no bound of ours. */
function integer({ minimum, maximum, ...rest }: JsonObject): JsonObject {
  return {
    ...rest,
    format: "int64",
    ...(minimum === undefined || minimum === Number.MIN_SAFE_INTEGER ? {} : { minimum }),
    ...(maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? {} : { maximum }),
  };
}

function definition(own: OwnKind): object {
  const { group, version, kind, plural, namespaced } = own.kind;
  const schema = structuralSchema(own);
  const hasStatus = isObject(schema["properties"]) && "status" in schema["properties"];
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}`, labels: { "app.kubernetes.io/name": "fairlead" } },
    spec: {
      group,
      scope: namespaced ? "Namespaced" : "Cluster",
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [own.shortName],
        categories: ["fairlead"],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: schema },
          ...(hasStatus ? { subresources: { status: {} } } : {}),
          additionalPrinterColumns: own.columns.map((column) => ({ ...column })),
        },
      ],
    },
  };
}

/** The text of deploy/crds.yaml. */
export function crdsText(): string {
  const documents = ownKinds.map((own) => stringify(definition(own), { lineWidth: 0, aliasDuplicateObjects: false }));
  return `# Fairlead's own kinds. Made from src/kube/objects.ts and policy-objects.ts by tools/crds.ts; run that after a change of those.\n${documents.join("---\n")}`;
}

if (import.meta.main) writeFileSync(crdsFile, crdsText());
