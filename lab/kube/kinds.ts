// Kubernetes' own kinds, as far as a cluster with Fairlead needs them. Most are stored as they come; nodes, pods and namespaces have rules.

import { builtInColumns } from "./columns.ts";
import { configRules, leaseRules, namespaceRules, nodeRules, podRules, resetStatus } from "./core-rules.ts";
import { networkPolicyRules } from "./network-policy.ts";
import type { Resource, Rules } from "./resource.ts";
import type { SelectableFields } from "./selectors.ts";
import { type JsonObject, at, textAt } from "./value.ts";

type Kind = Pick<Resource, "plural" | "kind"> & Partial<Resource>;

const text =
  (...path: string[]) =>
  (object: JsonObject): string => {
    const found = at(object, ...path);
    return typeof found === "string" || typeof found === "boolean" ? String(found) : "";
  };

const podFields: SelectableFields = {
  "spec.nodeName": text("spec", "nodeName"),
  "spec.restartPolicy": text("spec", "restartPolicy"),
  "spec.schedulerName": text("spec", "schedulerName"),
  "spec.serviceAccountName": text("spec", "serviceAccountName"),
  "spec.hostNetwork": (object) => String(at(object, "spec", "hostNetwork") === true),
  "status.phase": text("status", "phase"),
  "status.podIP": text("status", "podIP"),
  "status.nominatedNodeName": text("status", "nominatedNodeName"),
};

const eventFields: SelectableFields = {
  "involvedObject.kind": text("involvedObject", "kind"),
  "involvedObject.namespace": text("involvedObject", "namespace"),
  "involvedObject.name": text("involvedObject", "name"),
  "involvedObject.uid": text("involvedObject", "uid"),
  "involvedObject.apiVersion": text("involvedObject", "apiVersion"),
  "involvedObject.resourceVersion": text("involvedObject", "resourceVersion"),
  "involvedObject.fieldPath": text("involvedObject", "fieldPath"),
  reason: text("reason"),
  reportingComponent: text("reportingComponent"),
  source: (object) => textAt(object, "source", "component") ?? textAt(object, "reportingComponent") ?? "",
  type: text("type"),
};

const workload: Partial<Resource> = {
  hasStatus: true,
  countsGeneration: true,
  categories: ["all"],
  rules: { prepareCreate: resetStatus },
};

/** Kinds with a status that a new object cannot bring along. */
const statusLater: Rules = { prepareCreate: resetStatus };

const core: readonly Kind[] = [
  {
    plural: "nodes",
    kind: "Node",
    shortNames: ["no"],
    namespaced: false,
    hasStatus: true,
    fields: { "spec.unschedulable": (object) => String(at(object, "spec", "unschedulable") === true) },
    rules: nodeRules,
  },
  {
    plural: "namespaces",
    kind: "Namespace",
    shortNames: ["ns"],
    namespaced: false,
    hasStatus: true,
    fields: { "status.phase": text("status", "phase"), name: text("metadata", "name") },
    rules: namespaceRules,
  },
  {
    plural: "pods",
    kind: "Pod",
    shortNames: ["po"],
    hasStatus: true,
    countsGeneration: true,
    categories: ["all"],
    deleteGivesObject: true,
    fields: podFields,
    rules: podRules,
  },
  { plural: "configmaps", kind: "ConfigMap", shortNames: ["cm"], rules: configRules },
  { plural: "secrets", kind: "Secret", rules: configRules, fields: { type: text("type") } },
  { plural: "serviceaccounts", kind: "ServiceAccount", shortNames: ["sa"], deleteGivesObject: true },
  {
    plural: "services",
    kind: "Service",
    shortNames: ["svc"],
    categories: ["all"],
    hasStatus: true,
    putCreates: true,
    deleteGivesObject: true,
    rules: statusLater,
  },
  { plural: "endpoints", kind: "Endpoints", shortNames: ["ep"], putCreates: true },
  { plural: "events", kind: "Event", shortNames: ["ev"], putCreates: true, fields: eventFields },
];

const roles: readonly Kind[] = [
  { plural: "clusterroles", kind: "ClusterRole", namespaced: false },
  { plural: "clusterrolebindings", kind: "ClusterRoleBinding", namespaced: false },
  { plural: "roles", kind: "Role" },
  { plural: "rolebindings", kind: "RoleBinding" },
];

const groups: Readonly<Record<string, readonly Kind[]>> = {
  "/v1": core,
  "apps/v1": [
    { ...workload, plural: "deployments", kind: "Deployment", shortNames: ["deploy"] },
    { ...workload, plural: "daemonsets", kind: "DaemonSet", shortNames: ["ds"] },
    { ...workload, plural: "replicasets", kind: "ReplicaSet", shortNames: ["rs"] },
    { ...workload, plural: "statefulsets", kind: "StatefulSet", shortNames: ["sts"] },
  ],
  "batch/v1": [{ ...workload, plural: "jobs", kind: "Job" }],
  "coordination.k8s.io/v1": [
    { plural: "leases", kind: "Lease", putCreates: true, putUnconditionally: false, rules: leaseRules },
  ],
  "discovery.k8s.io/v1": [{ plural: "endpointslices", kind: "EndpointSlice", countsGeneration: true }],
  "networking.k8s.io/v1": [
    {
      plural: "networkpolicies",
      kind: "NetworkPolicy",
      singular: "networkpolicy",
      shortNames: ["netpol"],
      countsGeneration: true,
      rules: networkPolicyRules,
    },
  ],
  "policy/v1": [
    {
      plural: "poddisruptionbudgets",
      kind: "PodDisruptionBudget",
      shortNames: ["pdb"],
      hasStatus: true,
      countsGeneration: true,
      putUnconditionally: false,
      rules: statusLater,
    },
  ],
  "scheduling.k8s.io/v1": [
    {
      plural: "priorityclasses",
      kind: "PriorityClass",
      singular: "priorityclass",
      shortNames: ["pc"],
      namespaced: false,
    },
  ],
  "rbac.authorization.k8s.io/v1": roles,
  "admissionregistration.k8s.io/v1": [
    {
      plural: "validatingadmissionpolicies",
      kind: "ValidatingAdmissionPolicy",
      singular: "validatingadmissionpolicy",
      namespaced: false,
      hasStatus: true,
      countsGeneration: true,
      rules: statusLater,
    },
    {
      plural: "validatingadmissionpolicybindings",
      kind: "ValidatingAdmissionPolicyBinding",
      namespaced: false,
      countsGeneration: true,
    },
  ],
};

function whole(group: string, version: string, kind: Kind): Resource {
  return {
    group,
    version,
    singular: kind.plural.replace(/s$/, ""),
    listKind: `${kind.kind}List`,
    shortNames: [],
    categories: [],
    namespaced: true,
    hasStatus: false,
    countsGeneration: false,
    putCreates: false,
    putUnconditionally: true,
    deleteGivesObject: false,
    builtIn: true,
    fields: {},
    columns: builtInColumns(kind.kind),
    rules: {},
    ...kind,
  };
}

/** Every kind that is there without a CustomResourceDefinition; those themselves come from crd.ts. */
export function builtInKinds(): Resource[] {
  return Object.entries(groups).flatMap(([groupVersion, kinds]) => {
    const [group = "", version = ""] = groupVersion.split("/");
    return kinds.map((kind) => whole(group, version, kind));
  });
}

/** A kind of the API machinery that is made elsewhere, filled up with what most kinds have. */
export const completeKind = whole;

/** Kinds whose objects are answered and never kept. */
export function reviewKinds(): Resource[] {
  return [
    whole("authentication.k8s.io", "v1", {
      plural: "selfsubjectreviews",
      kind: "SelfSubjectReview",
      namespaced: false,
    }),
  ];
}
