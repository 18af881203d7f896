// This node's NodeNetwork: what the agent writes of itself, and what it believes of the answer.

import { isDeepStrictEqual } from "node:util";
import type { Node } from "../../kube/core-objects.ts";
import { blocksOfNodeMax, faultsMax, type NodeNetwork } from "../../kube/objects.ts";
import { type Cidr, cidrContains, cidrFamily, cidrPrefix, cidrsOverlap } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import type { NodeFault } from "./peers.ts";

export interface SelfReport {
  node: Node;
  agentVersion: string;
  faults: readonly NodeFault[];
}

/** Longest message of a fault (the schema's). */
const messageMax = 1024;

/**
 * The NodeNetwork as it should be; undefined where `held` is so already. A fault keeps the time at which it was first reported; the
 * object belongs to the Node, so that it goes when the Node goes.
 */
export function wantedNetwork(
  held: NodeNetwork | undefined,
  { node, agentVersion, faults }: SelfReport,
  now: string,
): NodeNetwork | undefined {
  const nodeUid = node.metadata.uid ?? "";
  const shown = faults.slice(0, faultsMax).map(({ code, message }) => {
    const cut = message.slice(0, messageMax);
    const known = held?.spec.faults?.find((fault) => fault.code === code && fault.message === cut);
    return { code, message: cut, since: known?.since ?? now };
  });
  const { providerID } = node.spec;
  const spec: NodeNetwork["spec"] = {
    nodeUid,
    ...(providerID === undefined ? {} : { providerID }),
    agentVersion,
    ...(shown.length === 0 ? {} : { faults: shown }),
  };
  const ownerReferences = [ownerOf(node)];
  if (isDeepStrictEqual(held?.spec, spec) && isDeepStrictEqual(held?.metadata.ownerReferences, ownerReferences)) {
    return undefined;
  }
  return { metadata: { ...(held?.metadata ?? { name: node.metadata.name }), ownerReferences }, spec };
}

/** The faults that the object tells of this very Node. */
export function faultsOf(held: NodeNetwork | undefined, { metadata: { uid } }: Node): readonly NodeFault[] {
  return held !== undefined && held.spec.nodeUid === uid ? (held.spec.faults ?? []) : [];
}

/** What makes an object of ours go with the Node. */
export function ownerOf({ metadata: { name, uid = "" } }: Node): {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
} {
  return { apiVersion: "v1", kind: "Node", name, uid };
}

/** Widest block that one node can own: a controller's mistake must not make a node swallow the cluster's addresses. */
const widest = { 4: 16, 6: 48 } as const;

/**
 * The blocks that the controller gave to this very Node: none where its answer is about a namesake. @throws nothing; blocks that
 * cannot be are left out.
 */
export function givenBlocks(network: NodeNetwork | undefined, nodeUid: string | undefined): Cidr[] {
  const status = network?.status;
  if (status === undefined || nodeUid === undefined || status.nodeUid !== nodeUid) return [];
  const blocks: Cidr[] = [];
  for (const { cidr } of status.blocks.slice(0, blocksOfNodeMax)) {
    if (cidrPrefix(cidr) < widest[cidrFamily(cidr)] || blocks.some((other) => cidrsOverlap(other, cidr))) continue;
    blocks.push(cidr);
  }
  return blocks;
}

/** The other node than `nodeName` to which a block with that address is given, by name. */
export function nodeOfAddress(networks: readonly NodeNetwork[], nodeName: string, address: Ip): string | undefined {
  const holds = ({ metadata: { name }, status }: NodeNetwork): boolean =>
    name !== nodeName && status?.blocks.some(({ cidr }) => cidrContains(cidr, address)) === true;
  return networks.find(holds)?.metadata.name;
}
