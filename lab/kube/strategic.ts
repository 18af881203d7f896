// Strategic merge patch: a merge patch that merges some lists by a key, as the Go types of Kubernetes' own kinds say
// (apimachinery/pkg/util/strategicpatch; patchMergeKey in k8s.io/api).

import { badRequest, unexplained } from "./status.ts";
import { type Json, type JsonObject, equal, isObject } from "./value.ts";

/** Merge key of a list by its path, "[]" standing for an element; "" for a list of plain values that is a set. Others are replaced. */
const containerLists = {
  env: "name",
  ports: "containerPort",
  volumeMounts: "mountPath",
  volumeDevices: "devicePath",
} as const;

const podLists = (at: string): [string, string][] => [
  ...["containers", "initContainers", "ephemeralContainers"].flatMap((list): [string, string][] => [
    [`${at}.${list}`, "name"],
    ...Object.entries(containerLists).map(([part, key]): [string, string] => [`${at}.${list}[].${part}`, key]),
  ]),
  [`${at}.volumes`, "name"],
  [`${at}.imagePullSecrets`, "name"],
  [`${at}.hostAliases`, "ip"],
  [`${at}.topologySpreadConstraints`, "topologyKey"],
];

const metaLists: readonly [string, string][] = [
  ["metadata.finalizers", ""],
  ["metadata.ownerReferences", "uid"],
];

const lists: Readonly<Record<string, ReadonlyMap<string, string>>> = {
  Node: new Map([...metaLists, ["spec.podCIDRs", ""], ["status.addresses", "type"], ["status.conditions", "type"]]),
  Pod: new Map([
    ...metaLists,
    ...podLists("spec"),
    ["status.conditions", "type"],
    ["status.podIPs", "ip"],
    ["status.hostIPs", "ip"],
  ]),
  Namespace: new Map([...metaLists, ["status.conditions", "type"]]),
  Service: new Map([...metaLists, ["spec.ports", "port"], ["status.conditions", "type"]]),
  ServiceAccount: new Map([...metaLists, ["secrets", "name"], ["imagePullSecrets", "name"]]),
  ...Object.fromEntries(
    ["Deployment", "DaemonSet", "ReplicaSet", "StatefulSet", "Job"].map((kind) => [
      kind,
      new Map([...metaLists, ...podLists("spec.template.spec"), ["status.conditions", "type"]]),
    ]),
  ),
};

const otherKinds = new Map(metaLists);
const orderPrefix = "$setElementOrder/";
const removePrefix = "$deleteFromPrimitiveList/";

/** @throws Refusal 500, as the server has it, where a directive is unknown or an element lacks its list's merge key */
export function strategicMerge(kind: string, target: JsonObject, patch: Json): JsonObject {
  if (!isObject(patch)) throw badRequest("a strategic merge patch must be an object");
  return mergeObjects(target, patch, "", lists[kind] ?? otherKinds);
}

function mergeObjects(
  target: JsonObject,
  patch: JsonObject,
  path: string,
  keys: ReadonlyMap<string, string>,
): JsonObject {
  const { $patch: directive, $retainKeys: retain, ...rest } = patch;
  if (directive === "replace") return withoutDirectives(rest);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge")
    throw unexplained(`unknown patch type: ${JSON.stringify(directive)} in map: ${JSON.stringify(patch)}`);
  const merged: JsonObject = { ...target };
  if (Array.isArray(retain)) {
    for (const key of Object.keys(merged)) if (!retain.includes(key)) delete merged[key];
  }
  for (const [key, value] of Object.entries(rest)) {
    if (key.startsWith(orderPrefix)) continue; // an order of elements means nothing to what is kept here
    const where = path === "" ? key : `${path}.${key}`;
    if (key.startsWith(removePrefix)) {
      const list = key.slice(removePrefix.length);
      const gone = Array.isArray(value) ? value : [];
      const have = merged[list];
      if (Array.isArray(have)) merged[list] = have.filter((each) => !gone.some((one) => equal(one, each)));
    } else if (value === null) delete merged[key];
    else merged[key] = mergeValues(merged[key], value, where, keys);
  }
  return merged;
}

function mergeValues(target: Json | undefined, patch: Json, path: string, keys: ReadonlyMap<string, string>): Json {
  if (isObject(patch)) return mergeObjects(isObject(target) ? target : {}, patch, path, keys);
  if (!Array.isArray(patch)) return patch;
  const mergeKey = keys.get(path);
  if (mergeKey === undefined) return patch;
  const have = Array.isArray(target) ? target : [];
  if (mergeKey === "") return [...have, ...patch.filter((each) => !have.some((one) => equal(one, each)))];
  return mergeLists(have, patch, { path, mergeKey, keys });
}

interface MergedList {
  path: string;
  mergeKey: string;
  keys: ReadonlyMap<string, string>;
}

function mergeLists(target: readonly Json[], patch: readonly Json[], { path, mergeKey, keys }: MergedList): Json[] {
  if (patch.some((each) => isObject(each) && each["$patch"] === "replace"))
    return patch.filter((each) => !isObject(each) || each["$patch"] === undefined);
  const merged = [...target];
  for (const element of patch) {
    if (!isObject(element)) throw badRequest(`an element of ${path} must be an object`);
    const identity = element[mergeKey];
    if (identity === undefined)
      throw unexplained(`map: ${JSON.stringify(element)} does not contain declared merge key: ${mergeKey}`);
    const index = merged.findIndex((each) => isObject(each) && equal(each[mergeKey], identity));
    const existing = merged[index];
    if (element["$patch"] === "delete") {
      for (let at = merged.length - 1; at >= 0; at -= 1) {
        const each = merged[at];
        if (isObject(each) && equal(each[mergeKey], identity)) merged.splice(at, 1);
      }
    } else if (isObject(existing)) merged[index] = mergeObjects(existing, element, `${path}[]`, keys);
    else merged.push(mergeObjects({}, element, `${path}[]`, keys));
  }
  return merged;
}

function withoutDirectives(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !key.startsWith("$")));
}
