// A lab's node as the audit sees it: where it is comes from the plan, who is attached from the runtime's own files.

import type { NodeLayout } from "../layout.ts";
import { netnsPath } from "../netns.ts";
import type { LabNode } from "../node.ts";
import { readSandboxes } from "../runtime.ts";
import { all } from "../waiting.ts";
import { type AuditOptions, auditNode } from "./audit.ts";
import { livingOfResult } from "./living.ts";
import type { AuditedNode } from "./node.ts";

/** `agent`: how the node's agent is, or how it ended. */
export function auditedNode(layout: NodeLayout, agent: AuditedNode["agent"]): AuditedNode {
  const { directory, netns, blocks, routes, addresses, kubeconfig } = layout;
  return {
    netnsPath: netnsPath(netns),
    paths: {
      socket: `${directory}/cni.sock`,
      state: `${directory}/state`,
      cniConf: `${directory}/net.d`,
      cniBin: `${directory}/bin`,
    },
    blocks: Object.values(blocks),
    routes,
    inCluster: kubeconfig !== undefined,
    uplink: { name: "eth0", addresses },
    agent,
    known: readSandboxes(directory).flatMap(({ list, containerId, result }) =>
      result === undefined ? [] : [livingOfResult({ network: list.name, containerId, ifname: "eth0" }, result.text)],
    ),
    ...(layout.masquerade === true ? { masquerade: { pods: Object.values(blocks), kept: keptRanges(layout) } } : {}),
    foreignFiles: ["agent.yaml", "agent.log", "runtime", "ip-masq-agent"].map((name) => `${directory}/${name}`),
  };
}

/** What the lab's file for masquerade lists (`lab/node.ts`), and link-local addresses. */
function keptRanges({ blocks }: NodeLayout): string[] {
  return [
    ...(blocks[4] === undefined ? [] : ["10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"]),
    ...(blocks[6] === undefined ? [] : ["fd00::/8", "fe80::/10"]),
  ];
}

/** Audits nodes at the same time; gives every difference, each with its node's name. */
export async function auditLabNodes(nodes: readonly LabNode[], options: AuditOptions): Promise<string[]> {
  const found = await all(
    nodes.map(async (node) => {
      const differences = await auditNode(auditedNode(node.layout, node.agentState()), options);
      return differences.map((one) => `${node.layout.name}: ${one}`);
    }),
  );
  return found.flat();
}
