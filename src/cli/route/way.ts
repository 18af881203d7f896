// Every hop between two places, and the object that each of them follows from: pure, `objects -> hops`.

import { unreachable } from "../../base/assert.ts";
import { type Cidr, hostCidr } from "../../net/cidr.ts";
import { gateways } from "../../net/gateways.ts";
import { type Ip, ipFamily } from "../../net/ip.ts";
import { foreign } from "../cluster/finding.ts";
import type { ClusterView } from "../cluster/view.ts";
import { type AddressPlace, addressOf, type NodePlace, type Place, type PodPlace, type Remark } from "./place.ts";
import { type Hop, type Piece, toBlock } from "./to-block.ts";

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
  return toBlock({ start, end }, target, walk.view);
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
