// The cluster at a glance, as `fairlead status -o json` has it: pure. The shape is documented in docs/cli.md and only ever gains keys.

import { attachmentFindings } from "./attachment-findings.ts";
import { type Finding, sortFindings } from "./finding.ts";
import { type Leader, readLeader } from "./leader.ts";
import { nodeFindings, type VersionCount, versionsOf } from "./node-findings.ts";
import { type RangeUse, readRanges } from "./ranges.ts";
import { blocksOf, type ClusterView, podAddresses, wantsNetwork } from "./view.ts";

export interface ClusterStatus {
  kind: "ClusterStatus";
  /** False where any finding is bad. */
  well: boolean;
  nodes: { total: number; withBlocks: number };
  pods: {
    /** Attachments that agents publish. */
    attached: number;
    /** Living pods that should have a network of their own and tell no address yet. */
    waiting: number;
    /** Living pods that use their node's. */
    onHostNetwork: number;
  };
  ranges: RangeUse[];
  controller: Leader;
  versions: VersionCount[];
  findings: Finding[];
}

/** Judges everything. */
export function summarize(view: ClusterView, nowMs: number): ClusterStatus {
  const { ranges, findings: rangeFindings } = readRanges(view.ledgers);
  const { leader, findings: leaderFindings } = readLeader(view.leases, nowMs);
  const findings = sortFindings([
    ...leaderFindings,
    ...rangeFindings,
    ...nodeFindings(view),
    ...attachmentFindings(view),
  ]);
  const living = view.pods.filter(({ status: { phase } }) => phase !== "Succeeded" && phase !== "Failed");
  return {
    kind: "ClusterStatus",
    well: isWell(findings),
    nodes: {
      total: view.nodes.length,
      withBlocks: view.nodes.filter((node) => blocksOf(view.network(node.metadata.name), node).length > 0).length,
    },
    pods: {
      attached: view.endpoints.reduce((sum, { endpoints }) => sum + endpoints.length, 0),
      waiting: living.filter((pod) => wantsNetwork(pod) && podAddresses(pod).length === 0).length,
      onHostNetwork: living.filter(({ spec }) => spec.hostNetwork === true).length,
    },
    ranges,
    controller: leader,
    versions: versionsOf(view),
    findings,
  };
}

export const isWell = (findings: readonly Finding[]): boolean => findings.every(({ state }) => state !== "bad");
