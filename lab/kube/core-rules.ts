// What Kubernetes itself says of nodes, pods, namespaces and leases (pkg/registry and pkg/apis/core/validation of v1.36).

import { cidrFamily, parseCidr } from "../../src/net/cidr.ts";
import { isLabelKey, isLabelValue } from "./names.ts";
import type { Rules } from "./resource.ts";
import { type Cause, wrong } from "./status.ts";
import { type JsonObject, at, equal, isObject, listAt, numberAt, objectAt, textAt, textsAt } from "./value.ts";

/** A new object brings no status along. */
export function resetStatus(object: JsonObject): void {
  object["status"] = {};
}

const taintEffects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/** spec.podCIDR and spec.podCIDRs say the same: the first of the list; where they differ, podCIDR is right (core/v1/conversion.go). */
function alignPodCidrs(object: JsonObject): void {
  const spec = object["spec"];
  if (!isObject(spec)) return;
  const single = textAt(spec, "podCIDR") ?? "";
  const listed = textsAt(spec, "podCIDRs");
  const all = single !== "" && single !== listed[0] ? [single] : listed;
  if (all.length === 0) {
    delete spec["podCIDR"];
    delete spec["podCIDRs"];
  } else Object.assign(spec, { podCIDR: all[0] ?? "", podCIDRs: all });
}

function podCidrCauses(object: JsonObject): Cause[] {
  const field = "spec.podCIDRs";
  const all = textsAt(object, "spec", "podCIDRs");
  const networks = all.map((text) => parseCidr(text));
  const unread = networks.flatMap((network, index) =>
    network === undefined
      ? [
          wrong.value(
            `${field}[${index}]`,
            all[index],
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
          ),
        ]
      : [],
  );
  const families = new Set(networks.map((network) => (network === undefined ? 0 : cidrFamily(network))));
  if (unread.length === 0 && families.size < all.length)
    return [wrong.value(field, all, "may specify no more than one CIDR for each IP family")];
  return unread;
}

function taintCauses(object: JsonObject): Cause[] {
  const seen = new Set<string>();
  return listAt(object, "spec", "taints").flatMap((taint, index) => {
    const field = `metadata.taints[${index}]`; // so says the server: the path is its mistake, kept by clients' tests
    const [key = "", value = "", effect = ""] = ["key", "value", "effect"].map((part) => textAt(taint, part));
    const causes: Cause[] = [];
    if (!isLabelKey(key)) causes.push(wrong.value(`${field}.key`, key, "is no qualified name"));
    if (!isLabelValue(value)) causes.push(wrong.value(`${field}.value`, value, "is no label value"));
    if (effect === "") causes.push(wrong.missing(`${field}.effect`));
    else if (!taintEffects.includes(effect)) causes.push(wrong.unsupported(`${field}.effect`, effect, taintEffects));
    const identity = `${effect} ${key}`;
    if (seen.has(identity)) causes.push(wrong.duplicate(field, taint));
    seen.add(identity);
    return causes;
  });
}

function nodeChangeCauses(object: JsonObject, before: JsonObject): Cause[] {
  const causes: Cause[] = [];
  const only = (what: string): string => `node updates may not change ${what} except from "" to valid`;
  const hadCidrs = listAt(before, "spec", "podCIDRs");
  if (hadCidrs.length > 0 && !equal([...hadCidrs], [...listAt(object, "spec", "podCIDRs")]))
    causes.push(wrong.forbidden("spec.podCIDRs", only("podCIDR")));
  const provider = textAt(before, "spec", "providerID") ?? "";
  if (provider !== "" && provider !== textAt(object, "spec", "providerID"))
    causes.push(wrong.forbidden("spec.providerID", only("providerID")));
  const seen = new Set<string>();
  listAt(object, "status", "addresses").forEach((address, index) => {
    const text = `${textAt(address, "type") ?? ""} ${textAt(address, "address") ?? ""}`;
    if (seen.has(text)) causes.push(wrong.duplicate(`status.addresses[${index}]`, address));
    seen.add(text);
  });
  return causes;
}

/** A node may bring its status along: kubelets register with it. */
export const nodeRules: Rules = {
  prepareCreate: alignPodCidrs,
  prepareUpdate: alignPodCidrs,
  validate: (object, before) => [
    ...podCidrCauses(object),
    ...taintCauses(object),
    ...(before === undefined ? [] : nodeChangeCauses(object, before)),
  ],
};

/** What may change in a pod's spec (validation.go, ValidatePodUpdate), images and tolerations left out: nothing here uses them. */
const podSpecMayChange = new Set([
  "activeDeadlineSeconds",
  "terminationGracePeriodSeconds",
  "tolerations",
  "containers",
]);

function podChangeCauses(object: JsonObject, before: JsonObject): Cause[] {
  const frozen = (pod: JsonObject): JsonObject =>
    Object.fromEntries(Object.entries(objectAt(pod, "spec")).filter(([key]) => !podSpecMayChange.has(key)));
  if (equal(frozen(object), frozen(before))) return [];
  return [
    wrong.forbidden(
      "spec",
      "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    ),
  ];
}

/** How long a pod gets to end where it says nothing (core/v1/defaults.go). */
export const podGraceSeconds = 30;

export const podRules: Rules = {
  prepareCreate: (object) => {
    const spec = objectAt(object, "spec");
    object["spec"] = {
      ...spec,
      restartPolicy: spec["restartPolicy"] ?? "Always",
      terminationGracePeriodSeconds: spec["terminationGracePeriodSeconds"] ?? podGraceSeconds,
      dnsPolicy: spec["dnsPolicy"] ?? "ClusterFirst",
      schedulerName: spec["schedulerName"] ?? "default-scheduler",
    };
    object["status"] = { phase: "Pending" };
  },
  validate: (object, before) => {
    if (before !== undefined) return podChangeCauses(object, before);
    return listAt(object, "spec", "containers").length === 0 ? [wrong.missing("spec.containers")] : [];
  },
};

/** Held by the namespace itself until all that lives in it is gone. */
export const namespaceFinalizer = "kubernetes";

export const namespaceRules: Rules = {
  prepareCreate: (object) => {
    object["spec"] = { ...objectAt(object, "spec"), finalizers: [namespaceFinalizer] };
    object["status"] = { phase: "Active" };
    labelWithName(object);
  },
  prepareUpdate: (object, before) => {
    object["spec"] = { ...objectAt(before, "spec") };
    labelWithName(object);
  },
  prepareStatus: (object, before) => {
    object["spec"] = { ...objectAt(before, "spec") };
  },
};

/** Always there, whatever the writer says (core/v1/defaults.go). */
function labelWithName(object: JsonObject): void {
  const metadata = objectAt(object, "metadata");
  const labels = { ...objectAt(metadata, "labels"), "kubernetes.io/metadata.name": textAt(metadata, "name") ?? "" };
  object["metadata"] = { ...metadata, labels };
}

export const leaseRules: Rules = {
  validate: (object) => {
    const causes: Cause[] = [];
    const duration = numberAt(object, "spec", "leaseDurationSeconds");
    if (duration !== undefined && duration <= 0)
      causes.push(wrong.value("spec.leaseDurationSeconds", duration, "must be greater than 0"));
    const transitions = numberAt(object, "spec", "leaseTransitions");
    if (transitions !== undefined && transitions < 0)
      causes.push(wrong.value("spec.leaseTransitions", transitions, "must be greater than or equal to 0"));
    for (const part of ["acquireTime", "renewTime"]) {
      const time = at(object, "spec", part);
      const readable = typeof time === "string" && !Number.isNaN(Date.parse(time));
      if (time !== undefined && time !== null && !readable)
        causes.push(wrong.value(`spec.${part}`, time, "is no RFC 3339 time"));
    }
    return causes;
  },
};

const configKey = /^[-._a-zA-Z0-9]{1,253}$/;

/** Of configmaps and secrets. */
export const configRules: Rules = {
  validate: (object) =>
    Object.keys(objectAt(object, "data"))
      .filter((key) => !configKey.test(key))
      .map((key) =>
        wrong.value(
          `data[${key}]`,
          key,
          "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        ),
      ),
};
