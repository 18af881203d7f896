// Nodes and NodeNetworks for tests of the controller, with no more said of them than the test is about.

import { type Node, nodes } from "../../src/kube/core-objects.ts";
import { type NodeNetwork, nodeNetworks } from "../../src/kube/objects.ts";
import { type NodeView, viewOf } from "../../src/controller/node-view.ts";

export interface NodeParts {
  /** `NAME-uid` if absent. */
  uid?: string;
  createdAt?: string;
  podCIDRs?: string[];
  addresses?: string[];
  leaving?: boolean;
}

export function nodeOf(name: string, parts: NodeParts = {}): Node {
  const { uid = `${name}-uid`, createdAt = "2026-01-01T00:00:00Z", podCIDRs, addresses = [], leaving = false } = parts;
  return nodes.parse({
    metadata: {
      name,
      uid,
      resourceVersion: "1",
      creationTimestamp: createdAt,
      ...(leaving ? { deletionTimestamp: createdAt } : {}),
    },
    spec: podCIDRs === undefined ? {} : { podCIDR: podCIDRs[0], podCIDRs },
    status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
  });
}

/** The NodeNetwork that the agent of Node `NAME-uid` has made; with a status where `blocks` are given. */
export function networkOf(name: string, blocks?: string[], nodeUid = `${name}-uid`): NodeNetwork {
  return nodeNetworks.parse({
    metadata: { name, uid: `${name}-network`, resourceVersion: "1", generation: 1 },
    spec: { nodeUid, agentVersion: "0.1.0" },
    ...(blocks === undefined
      ? {}
      : { status: { nodeUid, blocks: blocks.map((cidr) => ({ cidr })), addresses: [], conditions: [] } }),
  });
}

export function view(name: string, parts: NodeParts = {}, network?: NodeNetwork): NodeView {
  return viewOf(nodeOf(name, parts), network);
}
