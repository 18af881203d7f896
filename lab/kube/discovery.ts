// What the server offers, as clients ask for it: versions, groups and their resources.

import type { Registry } from "./registry.ts";
import type { Resource } from "./resource.ts";
import type { JsonObject } from "./value.ts";

/** The version that this server behaves like. */
export const serverVersion = { major: "1", minor: "36", gitVersion: "v1.36.0-fairlead-lab" } as const;

const verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const statusVerbs = ["get", "patch", "update"];

/** What is answered to a path that names no object; undefined where the path is none of these. */
export function discover(registry: Registry, path: string): JsonObject | undefined {
  const parts = path.split("/").filter((part) => part !== "");
  if (parts[0] === "version" && parts.length === 1) {
    return {
      ...serverVersion,
      platform: "linux/amd64",
      goVersion: "",
      gitCommit: "",
      buildDate: "",
      compiler: "",
      gitTreeState: "clean",
    };
  }
  if (parts[0] === "api") {
    if (parts.length === 1) return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };
    return parts.length === 2 && parts[1] === "v1" ? resourceList(registry, "", "v1") : undefined;
  }
  if (parts[0] === "openapi" && parts[1] === "v3" && parts.length === 2) return { paths: {} };
  if (parts[0] !== "apis") return undefined;
  if (parts.length === 1) return { kind: "APIGroupList", apiVersion: "v1", groups: groups(registry) };
  if (parts.length === 2) {
    const group = groups(registry).find((each) => each["name"] === parts[1]);
    return group === undefined ? undefined : { kind: "APIGroup", apiVersion: "v1", ...group };
  }
  return parts.length === 3 ? resourceList(registry, parts[1] ?? "", parts[2] ?? "") : undefined;
}

function groups(registry: Registry): JsonObject[] {
  const versions = new Map<string, Set<string>>();
  for (const { group, version } of registry.all()) {
    if (group !== "") versions.set(group, (versions.get(group) ?? new Set()).add(version));
  }
  return [...versions].map(([name, each]) => {
    const entries = [...each].map((version) => ({ groupVersion: `${name}/${version}`, version }));
    return { name, versions: entries, preferredVersion: entries[0] ?? {} };
  });
}

function resourceList(registry: Registry, group: string, version: string): JsonObject | undefined {
  const resources = registry.all().filter((each) => each.group === group && each.version === version);
  if (resources.length === 0) return undefined;
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: group === "" ? version : `${group}/${version}`,
    resources: resources.flatMap(resourceEntries),
  };
}

function resourceEntries(resource: Resource): JsonObject[] {
  const { plural: name, singular: singularName, namespaced, kind, shortNames, categories, hasStatus } = resource;
  const entry: JsonObject = {
    name,
    singularName,
    namespaced,
    kind,
    verbs,
    ...(shortNames.length === 0 ? {} : { shortNames: [...shortNames] }),
    ...(categories.length === 0 ? {} : { categories: [...categories] }),
  };
  const status: JsonObject = { name: `${name}/status`, singularName: "", namespaced, kind, verbs: statusVerbs };
  return hasStatus ? [entry, status] : [entry];
}
