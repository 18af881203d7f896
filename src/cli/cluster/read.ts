// Reads what the tool judges: all objects of the kinds that matter, or one sentence on what keeps it from reading them.

import { describe, Fault, isFault } from "../../base/fault.ts";
import type { Kind, Kube, KubeObject, ListOptions } from "../../kube/contract.ts";
import { type Lease, leases, type Node, nodes, type Pod, pods } from "../../kube/core-objects.ts";
import {
  type BlockLedger,
  blockLedgers,
  type NodeEndpoints,
  nodeEndpoints,
  type NodeNetwork,
  nodeNetworks,
  ourGroup,
} from "../../kube/objects.ts";
import type { OpenCluster } from "./open.ts";
import { type ProgramPod, programPods, programSelector } from "./programs.ts";

export interface ClusterObjects {
  nodes: readonly Node[];
  networks: readonly NodeNetwork[];
  endpoints: readonly NodeEndpoints[];
  ledgers: readonly BlockLedger[];
  pods: readonly Pod[];
  /** Leases of the controller's name, of any namespace; a text says why they could not be read. */
  leases: readonly Lease[] | string;
  /** Fairlead's own pods, where it runs in pods. */
  programs: readonly ProgramPod[];
  /** There is no cluster: files say all of it. */
  fromFiles?: true;
}

/** Reads everything, newest versions, all kinds at once; Leases only where a name is given. @throws Fault of one plain sentence: see `readFault` */
export async function readCluster({ kube, place }: OpenCluster, leaseName?: string): Promise<ClusterObjects> {
  const list = async <T extends KubeObject>(kind: Kind<T>, options?: ListOptions): Promise<T[]> =>
    (await kube.list(kind, options)).items;
  const wanted = [
    list(nodes),
    list(nodeNetworks),
    list(nodeEndpoints),
    list(blockLedgers),
    list(pods),
    list(programPods, { labelSelector: programSelector }),
  ] as const;
  const leasesRead = leaseName === undefined ? [] : readLeases(kube, leaseName);
  const settled = await Promise.allSettled([...wanted, leasesRead]);
  const failures = settled.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
  if (failures.length > 0) throw readFault(failures, place.server);
  const [nodesRead, networks, endpoints, ledgers, podsRead, programs] = await Promise.all(wanted);
  return { nodes: nodesRead, networks, endpoints, ledgers, pods: podsRead, programs, leases: await leasesRead };
}

/** Of any namespace; a text where they may not be read. */
async function readLeases(kube: Kube, name: string): Promise<readonly Lease[] | string> {
  try {
    return (await kube.list(leases, { fieldSelector: `metadata.name=${name}` })).items;
  } catch (error) {
    if (!isFault(error, "kube-refused", "kube-not-found")) throw error;
    return describe(error);
  }
}

/**
 * The one thing to tell of several failures: rights that are missing all at once; a cluster without Fairlead; else what came first.
 */
export function readFault(failures: readonly unknown[], server: string): unknown {
  const forbidden = failures.filter((error) => isFault(error, "kube-refused") && error.data["status"] === 403);
  if (forbidden.length > 0) {
    const words = forbidden.map((error) => missingRight(describe(error)));
    return new Fault(
      "kube-refused",
      `the server at ${server} does not let you read this: ${[...new Set(words)].join("; ")}. ` +
        `The cluster role fairlead-view has the rights to Fairlead's objects, "view" those to pods; nodes need a role with get and list of nodes`,
    );
  }
  const unknown = failures.filter((error) => isFault(error, "kube-not-found"));
  if (unknown.length > 0) {
    const kinds = unknown.map((error) => /\/apis\/[^/]+\/[^/]+\/(\w+)/.exec(describe(error))?.[1]).filter(Boolean);
    return new Fault(
      "not-found",
      kinds.length >= 3
        ? `Fairlead is not installed in this cluster (${server}): it does not know the kinds of ${ourGroup}; apply deploy/fairlead.yaml`
        : `Fairlead is not wholly installed in this cluster (${server}): it does not know ${kinds.join(", ")}; apply deploy/fairlead.yaml`,
    );
  }
  const unauthorized = failures.find((error) => isFault(error, "kube-unauthorized"));
  if (unauthorized !== undefined) {
    return new Fault(
      "kube-unauthorized",
      `the server at ${server} does not accept these credentials; are they expired?`,
      {
        cause: unauthorized,
      },
    );
  }
  const unreachable = failures.find((error) => isFault(error, "kube-unreachable"));
  if (unreachable !== undefined) {
    return new Fault("kube-unreachable", `the cluster at ${server} cannot be reached from here`, {
      cause: unreachable,
    });
  }
  return failures[0];
}

/** "list nodes", out of the server's own sentence where it has the usual form. */
function missingRight(words: string): string {
  const found = /cannot (\w+) resource "([^"]+)" in API group "([^"]*)"/.exec(words);
  if (found === null) return words;
  const [, verb, resource, group] = found;
  return `the right to ${verb} ${resource}${group === "" ? "" : `.${group}`} is missing`;
}
