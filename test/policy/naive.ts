// May this packet pass? The documentation of NetworkPolicy and the semantics of security groups, read naively: everything that is
// allowed is enumerated. Slow and obvious; shares nothing with src/policy but the types of what is asked.

import type { Ip } from "../../src/net/ip.ts";
import type { Direction, LayerKind, Packet, PolicyPod } from "../../src/policy/model.ts";
import { groupGrants } from "./naive-groups.ts";
import { networkPolicyGrants } from "./naive-network-policy.ts";
import type { Grants, Universe } from "./naive-universe.ts";
import { serviceOf, type World } from "./world.ts";

export type Outcome =
  /** Its end of the packet is no pod. */
  | "nobody"
  /** "A pod cannot block access to itself", where it sends from its own addresses only. */
  | "itself"
  /** "Traffic to and from the node where a Pod is running is always allowed." */
  | "own node"
  /** Without which no other packet passes (ICMPv6, RFC 4861). */
  | "neighbour discovery"
  /** No object is about the pod in this direction. */
  | "no layer"
  | "allowed"
  /** No rule allows it, and all that could are on probation. */
  | "audited"
  | "denied";

export const judgements = [
  "egress metadata",
  "egress networkPolicy",
  "egress groups",
  "ingress networkPolicy",
  "ingress groups",
] as const;
export type Judgement = (typeof judgements)[number];

export interface Answer {
  passes: boolean;
  judgements: Readonly<Record<Judgement, Outcome>>;
}

/** Answers for all packets of a universe. A flow passes where none of the four judgements denies it. */
export function naiveReader(world: World, universe: Universe): (packet: Packet) => Answer {
  const known = new Map<string, Grants>();
  const grantsOf = (pod: PolicyPod, kind: LayerKind, direction: Direction): Grants => {
    const key = `${pod.uid} ${kind} ${direction}`;
    if (!known.has(key)) {
      const grants = kind === "networkPolicy" ? networkPolicyGrants : groupGrants;
      known.set(key, grants(world, universe, pod, direction));
    }
    return known.get(key);
  };
  const podAt = (address: Ip): PolicyPod | undefined => world.pods.find(({ addresses }) => addresses.includes(address));
  const isOwnNode = (pod: PolicyPod, address: Ip): boolean => world.nodes.get(pod.node)?.includes(address) ?? false;

  return (packet) => {
    const source = podAt(packet.source);
    const target = podAt(packet.destination);
    const judge = (kind: LayerKind, direction: Direction): Outcome => {
      const pod = direction === "egress" ? source : target;
      const peer = direction === "egress" ? packet.destination : packet.source;
      if (pod === undefined) return "nobody";
      if (source === target && !isOutsideGuard(world, pod)) return "itself";
      if (isDiscovery(packet)) return "neighbour discovery";
      const judgesOwnNode = world.groupsJudgeOwnNode && kind === "groups" && direction === "egress";
      if (isOwnNode(pod, peer) && !judgesOwnNode) return "own node";
      const grants = grantsOf(pod, kind, direction);
      if (grants === undefined) return "no layer";
      const allowed = grants.allowed.some(({ peers, services }) => peers.has(peer) && services.has(serviceOf(packet)));
      return allowed ? "allowed" : grants.audit || isBroken(world, pod) ? "audited" : "denied";
    };
    const outcomes = {
      "egress metadata": source === undefined ? ("nobody" as const) : credentials(world, packet),
      "egress networkPolicy": judge("networkPolicy", "egress"),
      "egress groups": judge("groups", "egress"),
      "ingress networkPolicy": judge("networkPolicy", "ingress"),
      "ingress groups": judge("groups", "ingress"),
    };
    return { passes: !Object.values(outcomes).includes("denied"), judgements: outcomes };
  };
}

/** "leaves the guard by an annotation, which counts only while its namespace has one, too" */
function isOutsideGuard({ objects }: World, { namespace, sourceGuard }: PolicyPod): boolean {
  const of = objects.namespaces.find(({ metadata }) => metadata.name === namespace);
  return sourceGuard === "off" && of?.metadata.annotations?.["fairlead.dev/source-guard"] === "per-pod";
}

/** "While it lasts, policy denies the pods of the namespace, or of the node, nothing": at most 24 hours, both times written. */
function isBroken({ objects, nodeBreakGlass, nowMs }: World, pod: PolicyPod): boolean {
  const namespace = objects.namespaces.find(({ metadata }) => metadata.name === pod.namespace);
  const texts = [namespace?.metadata.annotations?.["fairlead.dev/break-glass"], nodeBreakGlass.get(pod.node)];
  return texts.some((text = "") => {
    const [from = NaN, until = NaN, ...more] = text.split("/").map((time) => new Date(time).getTime());
    return more.length === 0 && until - from <= 24 * 60 * 60 * 1000 && nowMs >= from && nowMs < until;
  });
}

/** "Whether pods may reach the cloud's metadata address: one key closes its credential ports (tcp 80)", to every pod. */
function credentials({ metadata }: World, packet: Packet): Outcome {
  const isClosed = metadata === "closed" && serviceOf(packet) === "6/80";
  return isClosed && ["169.254.169.254", "fd00:ec2::254"].includes(packet.destination) ? "denied" : "no layer";
}

/** Solicitations and advertisements of routers and neighbours; a redirect is no part of finding anybody. */
export function isDiscovery({ protocol, icmp }: Packet): boolean {
  return protocol === 58 && icmp !== undefined && icmp.type >= 133 && icmp.type <= 136;
}
