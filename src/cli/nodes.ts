// `fairlead nodes`: every node of the cluster in one line.

import { formatTable } from "../base/table.ts";
import type { Node } from "../kube/core-objects.ts";
import { percent } from "./cluster-status.ts";
import { ageShown } from "./cluster/finding.ts";
import { findingsOfNode } from "./cluster/node-findings.ts";
import type { OpenCluster } from "./cluster/open.ts";
import { blocksUse } from "./cluster/ranges.ts";
import { readCluster } from "./cluster/read.ts";
import { blocksOf, type ClusterView, nodeAddresses, viewCluster } from "./cluster/view.ts";

/** A line of the table, as `-o json` has it; it only ever gains keys. */
export interface NodeRow {
  name: string;
  addresses: string[];
  blocks: string[];
  /** Attachments that its agent publishes. */
  pods: number;
  /** Pods that its kubelet takes. */
  capacity?: number;
  /** Part of the addresses that pods have, 0 to 1, of the family that has least left. */
  use?: number;
  agentVersion?: string;
  state: "ready" | "warn" | "bad";
  /** What is wrong first, where something is. */
  why?: string;
  created?: string;
}

/** Gives the text to print. @throws Fault where the cluster cannot be read */
export async function showNodes(cluster: OpenCluster, { output }: { output: "table" | "json" }): Promise<string> {
  const rows = nodeRows(viewCluster(await readCluster(cluster)));
  return output === "json" ? JSON.stringify(rows, null, 2) : nodesText(rows, Date.now());
}

/** One row a Node, by name. */
export function nodeRows(view: ClusterView): NodeRow[] {
  return view.nodes.map((node) => rowOf(node, view)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function rowOf(node: Node, view: ClusterView): NodeRow {
  const { name, creationTimestamp: created } = node.metadata;
  const network = view.network(name);
  const blocks = blocksOf(network, node);
  const endpoints = view.endpointsOf(name)?.endpoints ?? [];
  const capacity = Number(node.status.capacity?.pods ?? Number.NaN);
  const use = blocksUse(
    blocks,
    endpoints.flatMap(({ addresses }) => addresses),
  );
  const findings = findingsOfNode(node, view);
  const wrong = findings.find(({ state }) => state === "bad") ?? findings[0];
  return {
    name,
    addresses: network?.status === undefined ? nodeAddresses(node) : [...network.status.addresses],
    blocks,
    pods: endpoints.length,
    ...(Number.isNaN(capacity) ? {} : { capacity }),
    ...(use === undefined ? {} : { use }),
    ...(network === undefined ? {} : { agentVersion: network.spec.agentVersion }),
    ...(wrong === undefined ? { state: "ready" } : { state: wrong.state, why: wrong.says }),
    ...(created === undefined ? {} : { created }),
  };
}

/** The table for people. */
export function nodesText(rows: readonly NodeRow[], nowMs: number): string {
  if (rows.length === 0) return "the cluster has no nodes";
  return formatTable(
    ["NODE", "ADDRESSES", "BLOCKS", "PODS", "USE", "AGENT", "AGE", "STATE"],
    rows.map(({ name, addresses, blocks, pods, capacity, use, agentVersion, state, why, created }) => [
      name,
      addresses.join(" ") || "-",
      blocks.join(" ") || "-",
      `${pods}/${capacity ?? "?"}`,
      use === undefined ? "-" : percent(use),
      agentVersion ?? "-",
      ageShown(created, nowMs),
      why === undefined ? state : `${state === "bad" ? "BAD" : "warning"}: ${why}`,
    ]),
  );
}
