// What is believed of a node's attachments: those of its own NodeEndpoints whose addresses lie in the blocks that it has.

import type { Cache } from "../../kube/contract.ts";
import type { Node, Pod } from "../../kube/core-objects.ts";
import type { Endpoint, NodeEndpoints, NodeNetwork } from "../../kube/objects.ts";
import { type Cidr, cidrContains } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";

/** The attachments of one node by the uid of their pod. The same object for as long as nothing of it changes. */
export type NodeFacts = ReadonlyMap<string, readonly Endpoint[]>;

export interface FactsCaches {
  nodes: Pick<Cache<Node>, "get">;
  networks: Pick<Cache<NodeNetwork>, "get">;
  endpoints: Pick<Cache<NodeEndpoints>, "get">;
}

interface Known {
  nodeUid: string | undefined;
  network: NodeNetwork | undefined;
  endpoints: NodeEndpoints | undefined;
  facts: NodeFacts;
}

const none: NodeFacts = new Map();

/** Gives what is to be believed of each node, as the caches stand; nodes that are not asked for between two `begin` are forgotten. */
export function createNodeFacts(caches: FactsCaches): { begin(): void; of(name: string): NodeFacts } {
  let before = new Map<string, Known>();
  let now = new Map<string, Known>();
  return {
    begin: () => {
      before = now;
      now = new Map();
    },
    of: (name) => {
      const asked = now.get(name);
      if (asked !== undefined) return asked.facts;
      const nodeUid = caches.nodes.get({ name })?.metadata.uid;
      const [network, endpoints] = [caches.networks.get({ name }), caches.endpoints.get({ name })];
      const held = before.get(name);
      const same = held?.nodeUid === nodeUid && held?.network === network && held?.endpoints === endpoints;
      const facts = same ? (held?.facts ?? none) : factsOf(nodeUid, network, endpoints);
      now.set(name, { nodeUid, network, endpoints, facts });
      return facts;
    },
  };
}

/** Nothing is believed of a node that is gone, of a namesake's objects, and before it has blocks. */
function factsOf(
  nodeUid: string | undefined,
  network: NodeNetwork | undefined,
  published: NodeEndpoints | undefined,
): NodeFacts {
  const status = network?.status;
  if (nodeUid === undefined || status?.nodeUid !== nodeUid || published?.nodeUid !== nodeUid) return none;
  const blocks = status.blocks.map(({ cidr }) => cidr);
  const facts = new Map<string, Endpoint[]>();
  for (const endpoint of published.endpoints) {
    const addresses = endpoint.addresses.filter((address) => isWithin(address, blocks));
    if (addresses.length === 0) continue;
    const believed = addresses.length === endpoint.addresses.length ? endpoint : { ...endpoint, addresses };
    const ofPod = facts.get(endpoint.uid);
    if (ofPod === undefined) facts.set(endpoint.uid, [believed]);
    else ofPod.push(believed);
  }
  return facts;
}

const isWithin = (address: Ip, blocks: readonly Cidr[]): boolean =>
  blocks.some((block) => cidrContains(block, address));

/** The attachments of a pod on its node. */
export function attachmentsOf({ metadata }: Pod, facts: NodeFacts): readonly Endpoint[] {
  const { uid = "", name, namespace } = metadata;
  const found = facts.get(uid);
  if (found === undefined) return [];
  return found.every((one) => one.name === name && one.namespace === namespace)
    ? found
    : found.filter((one) => one.name === name && one.namespace === namespace);
}
