// The hop from a node to the block of another, and every reason for which that route is not there: pure.

import { type Cidr, cidrContains, cidrPrefix, cidrsOverlap } from "../../net/cidr.ts";
import { type Ip, ipFamily } from "../../net/ip.ts";
import { type Finding, foreign } from "../cluster/finding.ts";
import { findingsOfNode } from "../cluster/node-findings.ts";
import type { ClusterView, OwnedBlock } from "../cluster/view.ts";
import type { Remark } from "./place.ts";

/** One step of a packet. */
export interface Hop {
  /** "pod shop/web-0", "node node-1", "outside". */
  at: string;
  does: string;
  /** Which object it follows from, and who carries it out. */
  by: string;
}

/** What one piece of a way adds to it. */
export interface Piece {
  hops?: Hop[];
  problems?: Remark[];
  notes?: string[];
  outside?: boolean;
}

/** What keeps an agent without blocks from before from making any route. */
const mute = new Set(["no-agent", "agent-of-earlier-node", "unanswered", "answer-of-earlier-node", "no-blocks"]);

interface Ends {
  start: string;
  end: string;
}

/** The route to another node's block, and every reason for which the agent of `start` would not make it. */
export function toBlock({ start, end }: Ends, target: Ip, view: ClusterView): Piece {
  const owned = view.blocks.find(({ node, block }) => node === end && cidrContains(block, target));
  if (owned === undefined) {
    const hop = { at: `node ${start}`, does: `no route to ${target}`, by: `NodeNetwork ${end}: status.blocks` };
    return { hops: [hop], problems: [noBlock(end, target, view)] };
  }
  const { block } = owned;
  const via = view.network(end)?.status?.addresses.find((address) => ipFamily(address) === ipFamily(target));
  const ledger = view.ledgers.find(({ spec }) => cidrsOverlap(spec.range, block));
  const problems = [...overlaps({ start, end }, block, view), ...told(start, block, view)];
  const silent = badOf(start, view).find(({ code }) => mute.has(code));
  // An agent that has blocks from before publishes, and goes on by what it knew.
  const serves = view.endpointsOf(start)?.nodeUid === view.node(start)?.metadata.uid;
  if (silent !== undefined && !serves) {
    problems.push({ says: `node ${start} makes no routes: ${silent.object} ${silent.says}`, cure: silent.cure });
  }
  if (via === undefined) {
    const says = `node ${end} has no IPv${ipFamily(target)} address, so nothing gets to its block ${block}`;
    problems.push({ says, cure: `its kubelet has to report one (--node-ip): kubectl describe node ${end}` });
  }
  const by = [
    `NodeNetwork ${end}: status.blocks, status.addresses`,
    ...(view.node(end)?.spec.podCIDRs?.includes(block) === true ? [`Node ${end}: podCIDRs`] : []),
    ...(ledger === undefined ? [] : [`BlockLedger ${ledger.metadata.name}`]),
  ];
  return {
    hops: [{ at: `node ${start}`, does: `${block} via ${via ?? "nothing"}`, by: by.join("; ") }],
    problems,
    notes:
      silent !== undefined && serves
        ? [`${silent.object} ${silent.says}; the agent of ${start} goes by what it knew before`]
        : [],
  };
}

const badOf = (name: string, view: ClusterView): Finding[] => {
  const node = view.node(name);
  return node === undefined ? [] : findingsOfNode(node, view).filter(({ state }) => state === "bad");
};

function noBlock(node: string, target: Ip, view: ClusterView): Remark {
  const trouble = badOf(node, view).find(({ code }) => mute.has(code));
  const own = view.blocks.filter((one) => one.node === node).map(({ block }) => block);
  return {
    says: `no block of node ${node} holds ${target} (${own.join(" ") || trouble?.says || "it has none"}): no node has a route to it`,
    cure: trouble?.cure ?? "delete the pod; it gets an address of its node's blocks",
  };
}

/** Blocks for which the agent of `start` leaves this one out (src/agent/cluster/peers.ts): its own, wider ones, of equals that of the first name. */
function overlaps({ start, end }: Ends, block: Cidr, view: ClusterView): Remark[] {
  const goesBefore = (other: OwnedBlock): boolean => {
    const wider = cidrPrefix(block) - cidrPrefix(other.block);
    return other.node === start || wider > 0 || (wider === 0 && other.node < end);
  };
  return view.blocks
    .filter((other) => other.node !== end && cidrsOverlap(other.block, block) && goesBefore(other))
    .map((other) => ({
      says: `block ${block} of ${end} overlaps ${other.block} of ${other.node}, which goes before it: ${start} has no route to it`,
      cure: "delete one of the two Nodes, and let its kubelet register anew",
    }));
}

/** What the agent of `start` has reported about that very block; its words name it so. */
function told(start: string, block: Cidr, view: ClusterView): Remark[] {
  const faults = view.network(start)?.spec.faults ?? [];
  return faults
    .filter(({ message }) => message.includes(`block ${block} `))
    .map(({ code, message }) => ({
      says: foreign(`the agent of ${start} reports ${code}: ${message}`),
      cure: code === "other-segment" ? "put all nodes on one segment" : `fairlead check on ${start}`,
    }));
}
