// Every hop between two places, and the object that each of them follows from: pure, `objects -> hops`.

import { unreachable } from "../../base/assert.ts";
import { type Cidr, cidrContains, cidrsOverlap, hostCidr } from "../../net/cidr.ts";
import { gateways } from "../../net/gateways.ts";
import { type Ip, ipFamily } from "../../net/ip.ts";
import { foreign } from "../cluster/finding.ts";
import { findingsOfNode } from "../cluster/node-findings.ts";
import type { ClusterView } from "../cluster/view.ts";
import { type AddressPlace, addressOf, type NodePlace, type Place, type PodPlace, type Remark } from "./place.ts";

/** One step of a packet. */
export interface Hop {
  /** "pod shop/web-0", "node node-1", "outside". */
  at: string;
  does: string;
  /** Which object it follows from, and who carries it out. */
  by: string;
}

/** What this node's agent told, where the tool runs beside one. */
export interface LocalAgent {
  node: string;
  /** Host links by the addresses of their pods. */
  links: ReadonlyMap<Ip, string>;
}

export interface Way {
  family: 4 | 6;
  direction: "there" | "back";
  from: Ip;
  to: Ip;
  /** "unknown": it leaves or enters the cluster, and what is outside has no objects. */
  verdict: "way" | "no-way" | "unknown";
  hops: Hop[];
  problems: Remark[];
  notes: string[];
}

export interface Walk {
  view: ClusterView;
  local?: LocalAgent;
}

/** What one piece of a way adds to it. */
interface Piece {
  hops?: Hop[];
  problems?: Remark[];
  notes?: string[];
  outside?: boolean;
}

/** The way of a packet in one family; both places must have an address of it. */
export function wayBetween(
  { from, to, direction }: { from: Place; to: Place; direction: Way["direction"] },
  [source, target]: readonly [Ip, Ip],
  walk: Walk,
): Way {
  const pieces = isSame(from, to) ? [loopback(to, target)] : piecesBetween({ from, to }, [source, target], walk);
  const problems = [...from.problems, ...to.problems, ...pieces.flatMap((piece) => piece.problems ?? [])];
  const outside = pieces.some((piece) => piece.outside === true);
  return {
    family: ipFamily(source),
    direction,
    from: source,
    to: target,
    verdict: problems.length > 0 ? "no-way" : outside ? "unknown" : "way",
    hops: pieces.flatMap(({ hops }) => hops ?? []),
    problems,
    notes: pieces.flatMap(({ notes }) => notes ?? []),
  };
}

/** One place, named twice. */
export function isSame(a: Place, b: Place): boolean {
  if (a.kind === "pod" && b.kind === "pod") return a.key === b.key;
  return a.kind === "node" && b.kind === "node" && a.node === b.node;
}

function loopback(place: Place, target: Ip): Piece {
  const at = place.kind === "pod" ? `pod ${place.key}` : place.title;
  return { hops: [{ at, does: `${target} is its own address: nothing leaves it`, by: "its own kernel tables" }] };
}

function piecesBetween(ends: { from: Place; to: Place }, [source, target]: readonly [Ip, Ip], walk: Walk): Piece[] {
  const { from, to } = ends;
  const start = nodeOf(from);
  if (from.kind === "address" && start === undefined) {
    // Whoever is outside comes in by the node that the target is on: nothing else can be said of it.
    const entry = nodeOf(to);
    return entry === undefined ? [] : [enter(source, target, entry, walk), arrive(to, target, walk)];
  }
  if (start === undefined) return []; // a pod on no node: told already
  return [leave(from, source, walk), cross(start, to, target, walk), arrive(to, target, walk)];
}

function nodeOf(place: Place): string | undefined {
  switch (place.kind) {
    case "pod":
    case "node":
      return place.node;
    case "address":
      return place.block?.node;
    default:
      return unreachable(place, "place");
  }
}

/** Out of the first place, onto its node. */
function leave(from: Place, source: Ip, walk: Walk): Piece {
  if (from.kind !== "pod" || from.node === undefined) return {};
  const { key, ifname, node } = from;
  const link = hostLink(node, source, walk);
  return {
    hops: [
      {
        at: `pod ${key}`,
        does: `${source} on ${ifname}; default via ${gateways[ipFamily(source)]}`,
        by: `Pod ${key}; NodeEndpoints ${node}`,
      },
      {
        at: `node ${node}`,
        does: `in by ${link.words}; only ${source} may pass`,
        by: `agent of ${node}: source guard`,
      },
    ],
    ...link.piece,
  };
}

/** The pod's link on its node: by name where this is that node, and with what its agent knows. */
function hostLink(node: string, address: Ip, { local }: Walk): { words: string; piece: Piece } {
  if (local?.node !== node) return { words: "the pod's host link (fl…)", piece: {} };
  const name = local.links.get(address);
  if (name !== undefined) return { words: `host link ${foreign(name)}`, piece: {} };
  const says = `the agent of this node (${node}) has no attachment with ${address}`;
  const cure = "fairlead pods lists those that it has; delete the pod, and it is made anew";
  return { words: "a host link that is not there", piece: { problems: [{ says, cure }] } };
}

/** From a node towards the node of the other place. */
function cross(start: string, to: Place, target: Ip, walk: Walk): Piece {
  const end = nodeOf(to);
  if (end === start) return {};
  if (to.kind === "node") return betweenNodes(start, to, target);
  if (end === undefined) return to.kind === "address" ? depart(start, to, target) : {};
  return toBlock({ start, end }, target, walk);
}

function betweenNodes(start: string, to: NodePlace, target: Ip): Piece {
  const does = `${target} by the node's own routes: its uplink's network, or its default route`;
  return { hops: [{ at: `node ${start}`, does, by: `no object of Fairlead; address by Node ${to.node}` }] };
}

/** Away from the cluster, by the node's own default route. */
function depart(start: string, to: AddressPlace, target: Ip): Piece {
  const does = `${target} by the node's own routes; from the node's address where masquerade covers it`;
  const by = "no object; masquerade: configuration of the agents";
  if (to.problems.length > 0) return { hops: [{ at: `node ${start}`, does, by }] };
  return { hops: [{ at: `node ${start}`, does, by }], outside: true };
}

/** What keeps an agent from making any route. */
const mute = new Set(["no-agent", "agent-of-earlier-node", "unanswered", "answer-of-earlier-node", "no-blocks"]);

/** The route to another node's block, and every reason for which the agent of `start` would not make it. */
function toBlock({ start, end }: { start: string; end: string }, target: Ip, { view }: Walk): Piece {
  const owned = view.blocks.find(({ node, block }) => node === end && cidrContains(block, target));
  if (owned === undefined) return { problems: [noBlock(end, target, view)] };
  const { block } = owned;
  const via = view.network(end)?.status?.addresses.find((address) => ipFamily(address) === ipFamily(target));
  const ledger = view.ledgers.find(({ spec }) => cidrsOverlap(spec.range, block));
  const problems = [...overlaps(end, block, view), ...told(start, block, view)];
  const silent = badOf(start, view).find(({ code }) => mute.has(code));
  if (silent !== undefined) {
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
  };
}

const badOf = (name: string, view: ClusterView): ReturnType<typeof findingsOfNode> => {
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

function overlaps(node: string, block: Cidr, view: ClusterView): Remark[] {
  return view.blocks
    .filter((other) => other.node !== node && cidrsOverlap(other.block, block))
    .map((other) => ({
      says: `block ${block} of ${node} overlaps ${other.block} of ${other.node}: only one of them gets routes`,
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

/** Brought by routers that have no objects here. */
function enter(source: Ip, target: Ip, entry: string, { view }: Walk): Piece {
  const does = `${source} is outside: its network has to bring ${target} to node ${entry}`;
  const block = view.blockOf(target);
  const note =
    block === undefined
      ? []
      : [
          `pods are reached from outside only where the network there routes ${block.block} to ${entry}, or by answers to masqueraded pods`,
        ];
  return {
    hops: [{ at: "outside", does, by: "no object: provider none makes no cloud route" }],
    notes: note,
    outside: true,
  };
}

/** From the last node into the place. */
function arrive(to: Place, target: Ip, walk: Walk): Piece {
  switch (to.kind) {
    case "node":
      return { hops: [{ at: `node ${to.node}`, does: `${target} is its own address`, by: `Node ${to.node}` }] };
    case "address":
      return to.block === undefined ? {} : dropped(to.block, target);
    case "pod":
      return to.node === undefined ? {} : intoPod(to, to.node, target, walk);
    default:
      return unreachable(to, "place");
  }
}

function dropped({ node, block }: { node: string; block: Cidr }, target: Ip): Piece {
  const does = `${block} unreachable: answered, as no pod has ${target}`;
  return { hops: [{ at: `node ${node}`, does, by: `agent of ${node}; NodeNetwork ${node}: status.blocks` }] };
}

function intoPod({ key, ifname }: PodPlace, node: string, target: Ip, walk: Walk): Piece {
  const link = hostLink(node, target, walk);
  return {
    hops: [
      {
        at: `node ${node}`,
        does: `${hostCidr(target)} out by ${link.words}`,
        by: `agent of ${node}; NodeEndpoints ${node}`,
      },
      { at: `pod ${key}`, does: `${target} on ${ifname}`, by: `Pod ${key}` },
    ],
    ...link.piece,
  };
}

/** The addresses that two places can speak with each other by: of each family that both have. */
export function commonFamilies(a: Place, b: Place): (readonly [Ip, Ip])[] {
  return ([4, 6] as const).flatMap((family) => {
    const [left, right] = [addressOf(a, family), addressOf(b, family)];
    return left === undefined || right === undefined ? [] : [[left, right] as const];
  });
}
