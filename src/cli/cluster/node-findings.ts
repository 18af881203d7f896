// What is wrong with nodes, by what their agents and the controller have written for each other: pure.

import type { Node } from "../../kube/core-objects.ts";
import type { NodeNetwork } from "../../kube/objects.ts";
import { type Finding, foreign } from "./finding.ts";
import { imageVersion, programOf, whyNotRunning } from "./programs.ts";
import { blocksOf, type ClusterView } from "./view.ts";

/** The controller's condition on whether a node has its blocks. */
const blocksCondition = "BlocksReady";

const lookAtController = "see whether fairlead-controller runs and what it logs";

/** Everything wrong with every node, and objects that no Node stands behind. */
export function nodeFindings(view: ClusterView): Finding[] {
  return [...view.nodes.flatMap((node) => findingsOfNode(node, view)), ...orphans(view), ...skewFindings(view)];
}

/** All of one node; the first is what keeps its pods from being attached, where something does. */
export function findingsOfNode(node: Node, view: ClusterView): Finding[] {
  const network = view.network(node.metadata.name);
  return [
    ...seam(node, network),
    ...agentPod(node, view),
    ...published(node, network, view),
    ...(network?.spec.faults ?? []).map((fault): Finding => ({
      state: "bad",
      code: "agent-fault",
      node: node.metadata.name,
      object: `NodeNetwork ${node.metadata.name}`,
      since: fault.since,
      says: foreign(`${fault.code}: ${fault.message}`),
      cure: `fairlead check on ${node.metadata.name} has more; its agent goes on to try`,
    })),
    ...readiness(node),
  ];
}

/** What one writes and the other answers: at most the first thing that is wrong in that order, and what stands beside it. */
function seam(node: Node, network: NodeNetwork | undefined): Finding[] {
  const { name, uid } = node.metadata;
  const about = { node: name, object: `NodeNetwork ${name}` };
  const bad = (code: string, says: string, cure: string, since?: string): Finding[] => [
    { state: "bad", code, ...about, says, cure, ...(since === undefined ? {} : { since }) },
  ];
  const { creationTimestamp: nodeSince } = node.metadata;
  if (network === undefined) {
    return bad(
      "no-agent",
      "is missing: no agent has reported from this node",
      `start the agent on ${name} and look at its log`,
      nodeSince,
    );
  }
  if (network.spec.nodeUid !== uid) {
    const cure = `restart the agent of ${name}; its log says why it keeps to the earlier Node`;
    return bad("agent-of-earlier-node", "was written for an earlier Node of this name", cure, nodeSince);
  }
  const { status } = network;
  const { generation, creationTimestamp } = network.metadata;
  if (status === undefined)
    return bad("unanswered", "has no status: the controller has not answered", lookAtController, creationTimestamp);
  if (status.nodeUid !== uid) {
    return bad(
      "answer-of-earlier-node",
      "has a status that is about an earlier Node of this name",
      lookAtController,
      nodeSince,
    );
  }
  const condition = status.conditions?.find(({ type }) => type === blocksCondition);
  const words =
    condition === undefined ? "the controller does not say why" : foreign(`${condition.reason}: ${condition.message}`);
  if (status.blocks.length === 0) {
    return bad(
      "no-blocks",
      `the node has no blocks: ${words}`,
      blocksCure(condition?.reason),
      condition?.lastTransitionTime,
    );
  }
  const found: Finding[] = [];
  if (condition?.status === "False") {
    found.push(...bad("blocks-troubled", words, blocksCure(condition.reason), condition.lastTransitionTime));
  } else if (condition !== undefined && condition.message !== "") {
    const since = condition.lastTransitionTime;
    found.push({
      state: "warn",
      code: "blocks-odd",
      ...about,
      since,
      says: words,
      cure: "see ranges and serviceRanges of the controller",
    });
  }
  if (generation !== undefined && status.observedGeneration !== undefined && status.observedGeneration < generation) {
    const says = `the controller has answered generation ${status.observedGeneration}, the agent has written ${generation}`;
    found.push({ state: "warn", code: "answer-stale", ...about, says, cure: lookAtController });
  }
  if (status.addresses.length === 0) {
    const cure = `see status.addresses of Node ${name}: its kubelet must report an InternalIP`;
    found.push(...bad("no-address", "the node has no address that others could send to", cure));
  }
  return found;
}

function blocksCure(reason: string | undefined): string {
  switch (reason) {
    case "RangeFull":
      return "give the controller a larger range, or remove nodes that are gone";
    case "NoPodCIDR":
      return "the cluster's own controller manager gives them (--allocate-node-cidrs), or set assign: fairlead";
    case "Overlap":
    case "Malformed":
      return "delete the Node and let its kubelet register anew";
    case undefined:
    default:
      return lookAtController;
  }
}

/** Where agents run in pods: the one of this node. */
function agentPod(node: Node, { programs }: ClusterView): Finding[] {
  const agents = programs.filter((pod) => programOf(pod) === "agent");
  if (agents.length === 0) return [];
  const { name } = node.metadata;
  const own = agents.filter(({ spec }) => spec.nodeName === name);
  const about = { state: "bad", code: "agent-not-running", node: name } as const;
  const [first] = own;
  if (first === undefined) {
    const says = "the node has no agent pod";
    return [
      {
        ...about,
        object: `Node ${name}`,
        says,
        cure: "see the DaemonSet fairlead-agent: its selector, its tolerations",
      },
    ];
  }
  if (own.some((pod) => whyNotRunning(pod) === undefined)) return [];
  const { namespace = "", name: podName } = first.metadata;
  return [
    {
      ...about,
      object: `Pod ${namespace}/${podName}`,
      ...(first.metadata.creationTimestamp === undefined ? {} : { since: first.metadata.creationTimestamp }),
      says: `the agent does not run: ${foreign(whyNotRunning(first) ?? "")}`,
      cure: `kubectl -n ${namespace} describe pod ${podName}; kubectl -n ${namespace} logs ${podName}`,
    },
  ];
}

/** Whether the agent publishes its attachments, for this Node. */
function published(node: Node, network: NodeNetwork | undefined, view: ClusterView): Finding[] {
  const { name, uid } = node.metadata;
  const endpoints = view.endpointsOf(name);
  const about = { state: "bad", node: name, object: `NodeEndpoints ${name}` } as const;
  const cure = `look at the log of the agent on ${name}`;
  if (endpoints === undefined) {
    // Before its first block an agent has nothing to publish, and what is wrong is told already.
    if (blocksOf(network, node).length === 0) return [];
    return [{ ...about, code: "unpublished", says: "is missing: the agent has not published its attachments", cure }];
  }
  if (endpoints.nodeUid === uid) return [];
  return [{ ...about, code: "endpoints-of-earlier-node", says: "is about an earlier Node of this name", cure }];
}

/** What kubelet and others say of the node: not ours to mend, but the reason of much. */
function readiness(node: Node): Finding[] {
  const { name } = node.metadata;
  const ready = node.status.conditions?.find(({ type }) => type === "Ready");
  if (ready === undefined || ready.status === "True") return [];
  return [
    {
      state: "warn",
      code: "node-not-ready",
      node: name,
      object: `Node ${name}`,
      ...(ready.lastTransitionTime === undefined ? {} : { since: ready.lastTransitionTime }),
      says: foreign(`is not Ready: ${ready.reason ?? ""}${ready.message === undefined ? "" : `: ${ready.message}`}`),
      cure: `kubectl describe node ${name}`,
    },
  ];
}

/** Objects of nodes that are gone: they hold blocks back, and other nodes keep routes to them. */
function orphans(view: ClusterView): Finding[] {
  const found = [
    ...view.networks.map(({ metadata }) => ({ kind: "NodeNetwork", metadata })),
    ...view.endpoints.map(({ metadata }) => ({ kind: "NodeEndpoints", metadata })),
  ];
  return found
    .filter(({ metadata }) => view.node(metadata.name) === undefined)
    .map(({ kind, metadata: { name } }): Finding => ({
      state: "warn",
      code: "node-gone",
      node: name,
      object: `${kind} ${name}`,
      says: "its Node is gone",
      cure: `the controller removes it after a while; if it does not: kubectl delete ${kind.toLowerCase()}.fairlead.dev ${name}`,
    }));
}

export interface VersionCount {
  version: string;
  agents: number;
  controllers: number;
}

/** Which versions are at work, and on how many nodes. */
export function versionsOf(view: ClusterView): VersionCount[] {
  const counts = new Map<string, VersionCount>();
  const count = (version: string): VersionCount => {
    const held = counts.get(version) ?? { version, agents: 0, controllers: 0 };
    counts.set(version, held);
    return held;
  };
  for (const { metadata, spec } of view.networks)
    if (view.node(metadata.name) !== undefined) count(foreign(spec.agentVersion)).agents += 1;
  for (const pod of view.programs) {
    const version = programOf(pod) === "controller" ? imageVersion(pod) : undefined;
    if (version !== undefined) count(version).controllers += 1;
  }
  return [...counts.values()].toSorted((a, b) => (a.version < b.version ? -1 : 1));
}

const counted = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;

function skewFindings(view: ClusterView): Finding[] {
  const versions = versionsOf(view);
  if (versions.length < 2) return [];
  const shown = versions
    .map(({ version, agents, controllers }) =>
      [version, agents > 0 ? counted(agents, "agent") : "", controllers > 0 ? counted(controllers, "controller") : ""]
        .filter(Boolean)
        .join(" "),
    )
    .join(", ");
  return [
    {
      state: "warn",
      code: "version-skew",
      object: "versions",
      says: `several are at work: ${shown}`,
      cure: "let the upgrade end: kubectl -n fairlead-system rollout status daemonset/fairlead-agent",
    },
  ];
}
