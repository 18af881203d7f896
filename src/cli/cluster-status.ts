// `fairlead status` of a cluster: what all agents and the controller have written, judged, on one page.

import { pause } from "../base/pause.ts";
import { formatTable } from "../base/table.ts";
import { formatAge } from "./age.ts";
import { findingsTable, secondsSince, standing } from "./cluster/finding.ts";
import type { OpenCluster } from "./cluster/open.ts";
import { readCluster } from "./cluster/read.ts";
import { type ClusterStatus, isWell, summarize } from "./cluster/summary.ts";
import { viewCluster } from "./cluster/view.ts";

export interface ClusterOutcome {
  text: string;
  /** False where anything is bad. */
  well: boolean;
}

export interface ClusterStatusOptions {
  output: "table" | "json";
  leaseName: string;
  /** Awaited between two looks, where the first finds anything; what only one of them sees is the cluster at work. */
  settle?: () => Promise<void>;
}

/** Longer than a pod, its attachment and its node's answer need to follow each other. */
const settleMs = 2_000;
const settleUsually = (): Promise<void> => pause(settleMs, new AbortController().signal);

/** Gives the text to print, and whether the cluster is well. @throws Fault where it cannot be read */
export async function showClusterStatus(cluster: OpenCluster, options: ClusterStatusOptions): Promise<ClusterOutcome> {
  const { output, leaseName, settle = settleUsually } = options;
  const look = async (): Promise<ClusterStatus> =>
    summarize(viewCluster(await readCluster(cluster, leaseName)), Date.now());
  let status = await look();
  if (status.findings.length > 0) {
    const { findings: earlier } = status;
    await settle();
    status = await look();
    const findings = standing(earlier, status.findings);
    status = { ...status, findings, well: isWell(findings) };
  }
  const text =
    output === "json"
      ? JSON.stringify({ ...status, cluster: cluster.place }, null, 2)
      : statusText(status, cluster.place, Date.now());
  return { text, well: status.well };
}

/** The page for people. */
export function statusText(status: ClusterStatus, place: OpenCluster["place"], nowMs: number): string {
  const { nodes, pods, ranges, findings } = status;
  const lines = [
    `cluster ${place.server} (context ${place.context} of ${place.kubeconfig})`,
    [
      `${count(nodes.total, "node")}, ${nodes.withBlocks} with blocks`,
      `${count(pods.attached, "pod")} attached, ${pods.waiting} waiting, ${pods.onHostNetwork} on their nodes' network`,
      controllerWords(status, nowMs),
      versionWords(status),
    ].join("; "),
  ];
  if (ranges.length > 0) {
    lines.push(
      "",
      formatTable(
        ["RANGE", "BLOCKS", "USED", "FREE", "PENDING"],
        ranges.map(({ range, blockPrefix, blocks, used, free, pending }) => [
          range,
          `${blocks} of /${blockPrefix}`,
          `${used} (${percent(used / blocks)})`,
          String(free),
          String(pending),
        ]),
      ),
    );
  }
  lines.push("", findings.length === 0 ? "nothing is wrong" : findingsTable(findings, nowMs));
  return lines.join("\n");
}

function controllerWords({ controller: { state, holder, since } }: ClusterStatus, nowMs: number): string {
  switch (state) {
    case "leads": {
      const seconds = secondsSince(since, nowMs);
      return `controller ${holder} leads${seconds === undefined ? "" : ` since ${formatAge(seconds)}`}`;
    }
    case "expired":
      return `no controller leads (${holder} fell silent)`;
    case "none":
      return "no controller leads";
    case "unknown":
    default:
      return "controller not known";
  }
}

function versionWords({ versions }: ClusterStatus): string {
  if (versions.length === 0) return "no version reported";
  return `version ${versions.map(({ version }) => version).join(", ")}`;
}

/** "7 %": whole, but never nought where there is something. */
export function percent(part: number): string {
  const whole = Math.round(part * 100);
  return part > 0 && whole === 0 ? "<1 %" : `${whole} %`;
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;
