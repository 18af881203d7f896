// Which kinds files may have: what is nearly one of ours is a mistake, and policies of others are not ours to keep.

import { nearest } from "../base/near.ts";
import type { Kind, KubeObject } from "./contract.ts";
import { nodes, pods } from "./core-objects.ts";
import { blockLedgers, nodeEndpoints, nodeNetworks, ourGroup } from "./objects.ts";
import {
  membershipSlices,
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "./policy-objects.ts";

const ours = [securityGroups, securityGroupBindings, nodeNetworks, nodeEndpoints, blockLedgers, membershipSlices];
/** Kinds that others may have called so, too: AWS' and Crossplane's SecurityGroups are objects of a cloud. */
const ourNames: readonly Kind<KubeObject>[] = [...ours, securityGroupPolicies];
const known: readonly Kind<KubeObject>[] = [...ourNames, networkPolicies, namespaces, serviceAccounts, pods, nodes];
/** Groups that Kubernetes' own kinds were in, or are thought to be in. */
const formerGroups = new Set(["", "core", "extensions"]);
/** What makes pods, by kind. */
export const podMakers = new Map([
  ...["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"].map((kind) => [kind, "apps/v1"] as const),
  ...["Job", "CronJob"].map((kind) => [kind, "batch/v1"] as const),
]);

/** As `apiVersion` has it. */
export function versionOf({ group, version }: Pick<Kind<KubeObject>, "group" | "version">): string {
  return group === "" ? version : `${group}/${version}`;
}

/** What an object of that kind has as apiVersion; undefined for a kind that is not read. */
export function usualVersion(kind: string): string | undefined {
  const found = known.find((one) => one.kind === kind);
  return found === undefined ? (podMakers.get(kind) ?? (kind === "List" ? "v1" : undefined)) : versionOf(found);
}

/**
 * What is wrong where a kind is nearly one that is read, or is said to be ours and is none: "apiVersion: …; write …". Undefined where
 * it is read, and where it is no affair of ours.
 */
export function wrongKind(apiVersion: string, kind: string): string | undefined {
  const group = apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
  const namesake = known.find((one) => one.kind === kind);
  if (namesake !== undefined) {
    const right = versionOf(namesake);
    const isMeant =
      group === namesake.group ||
      (ourNames.includes(namesake) && group.includes(wordOf(namesake.group))) ||
      formerGroups.has(group) ||
      nearest(group, [namesake.group]) !== undefined;
    return apiVersion === right || !isMeant
      ? undefined
      : `apiVersion: is ${JSON.stringify(apiVersion)}; write ${right}`;
  }
  const ofGroup = known.filter((one) => one.group === group);
  const kinds = ofGroup.map((one) => one.kind);
  const near = nearest(kind, kinds) ?? ofGroup.find(({ plural }) => plural === kind.toLowerCase())?.kind;
  if (near !== undefined) return `kind: is not known; did you mean ${near}?`;
  return group === ourGroup ? `kind: is not known; known of ${ourGroup}: ${kinds.join(", ")}` : undefined;
}

/** The part of a group's name that nobody leaves out. */
const wordOf = (group: string): string => group.slice(0, group.indexOf("."));

/** True for a kind of somebody else that says who may talk to whom, or is called as ours that do: it judges nothing here, and people should know. */
export function isPolicyOfOthers(apiVersion: string, kind: string): boolean {
  const namesake = ourNames.find((one) => one.kind === kind);
  if (namesake !== undefined) return apiVersion !== versionOf(namesake);
  return /NetworkPolic(?:y|ies)$/.test(kind) && apiVersion !== versionOf(networkPolicies);
}
