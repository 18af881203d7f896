// A whole cluster as policy sees it, and packets in it, written so that a person can read them.

import { inspect } from "node:util";
import type { Ip } from "../../src/net/ip.ts";
import type { PolicyKeys } from "../../src/policy/keys.ts";
import type { Packet, PolicyObjects, PolicyPod } from "../../src/policy/model.ts";

export interface World {
  objects: PolicyObjects;
  pods: readonly PolicyPod[];
  /** Addresses of nodes, by name. */
  nodes: ReadonlyMap<string, readonly Ip[]>;
  /** What a pod sends to its own node is judged by its groups, too. */
  groupsJudgeOwnNode: boolean;
  /** Whom pods may ask for names whatever their groups say. */
  allowDns: PolicyKeys["allowDns"];
  /** Whether pods may have the cloud's credentials. */
  metadata: PolicyKeys["metadata"];
  /** When the packets are sent. */
  nowMs: number;
  /** What is annotated on nodes of break-glass, by their names. */
  nodeBreakGlass: ReadonlyMap<string, string>;
}

/** "shop/p3": pods of a world have unique names within their namespace. */
export function podName(pod: Pick<PolicyPod, "namespace" | "name">): string {
  return `${pod.namespace}/${pod.name}`;
}

/** What a packet asks for at its destination: "6/80", "1/8/0" (type, code), "47". */
export function serviceOf({ protocol, destinationPort, icmp }: Packet): string {
  if (icmp !== undefined) return `${protocol}/${icmp.type}/${icmp.code}`;
  return destinationPort === undefined ? String(protocol) : `${protocol}/${destinationPort}`;
}

/** "10.4.1.2 (shop/p0) -> 172.30.0.11 (node n1) 6/80". */
export function packetText({ pods, nodes }: World, packet: Packet): string {
  const who = (address: Ip): string => {
    const pod = pods.find(({ addresses }) => addresses.includes(address));
    if (pod !== undefined) return `${address} (${podName(pod)} on ${pod.node})`;
    const node = [...nodes].find(([, addresses]) => addresses.includes(address));
    return node === undefined ? `${address} (outside)` : `${address} (node ${node[0]})`;
  };
  return `${who(packet.source)} -> ${who(packet.destination)} ${serviceOf(packet)}`;
}

/** The world in the shape in which its objects are written. */
export function worldText({ objects, pods, nodes, ...keys }: World): string {
  const shown = { pods, nodes: Object.fromEntries(nodes), ...keys, ...objects };
  return inspect(shown, { depth: 12, breakLength: 130, compact: 6, sorted: false });
}
