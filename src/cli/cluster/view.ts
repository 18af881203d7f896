// A cluster's objects, indexed for questions: which node is that, who has this address, in whose block does it lie. Pure.

import { mirrorAnnotation, type Node, type Pod } from "../../kube/core-objects.ts";
import type { Endpoint, NodeEndpoints, NodeNetwork } from "../../kube/objects.ts";
import { type Cidr, cidrContains } from "../../net/cidr.ts";
import { type Ip, parseIp } from "../../net/ip.ts";
import type { ClusterObjects } from "./read.ts";

/** An attachment and the node that tells of it. */
export interface PlacedEndpoint {
  node: string;
  endpoint: Endpoint;
}

export interface OwnedBlock {
  node: string;
  block: Cidr;
}

export interface ClusterView extends ClusterObjects {
  node(name: string): Node | undefined;
  network(node: string): NodeNetwork | undefined;
  endpointsOf(node: string): NodeEndpoints | undefined;
  pod(namespace: string, name: string): Pod | undefined;
  /** Attachments that the pod's name stands on; of this or of another uid. */
  attachments(namespace: string, name: string): readonly PlacedEndpoint[];
  /** Attachments that have the address; several are a fault. */
  holders(address: Ip): readonly PlacedEndpoint[];
  /** Blocks of all nodes, of answers that are about the Nodes that are there. */
  blocks: readonly OwnedBlock[];
  /** The block that an address lies in. */
  blockOf(address: Ip): OwnedBlock | undefined;
}

/** Builds the indexes. */
export function viewCluster(objects: ClusterObjects): ClusterView {
  const nodes = byName(objects.nodes);
  const networks = byName(objects.networks);
  const endpoints = byName(objects.endpoints);
  const pods = new Map(objects.pods.map((pod) => [podKey(pod.metadata.namespace ?? "", pod.metadata.name), pod]));
  const attachments = new Map<string, PlacedEndpoint[]>();
  const holders = new Map<Ip, PlacedEndpoint[]>();
  for (const { metadata, endpoints: held } of objects.endpoints) {
    for (const endpoint of held) {
      const placed = { node: metadata.name, endpoint };
      push(attachments, podKey(endpoint.namespace, endpoint.name), placed);
      for (const address of endpoint.addresses) push(holders, address, placed);
    }
  }
  const blocks = objects.networks.flatMap((network) =>
    blocksOf(network, nodes.get(network.metadata.name)).map((block) => ({ node: network.metadata.name, block })),
  );
  return {
    ...objects,
    node: (name) => nodes.get(name),
    network: (name) => networks.get(name),
    endpointsOf: (name) => endpoints.get(name),
    pod: (namespace, name) => pods.get(podKey(namespace, name)),
    attachments: (namespace, name) => attachments.get(podKey(namespace, name)) ?? [],
    holders: (address) => holders.get(address) ?? [],
    blocks,
    blockOf: (address) => blocks.find(({ block }) => cidrContains(block, address)),
  };
}

/** The blocks that a NodeNetwork gives to that Node: none where its answer is about another of the name. */
export function blocksOf(network: NodeNetwork | undefined, node: Node | undefined): Cidr[] {
  const status = network?.status;
  if (status === undefined || node === undefined || status.nodeUid !== node.metadata.uid) return [];
  return status.blocks.map(({ cidr }) => cidr);
}

/** True where an attachment's uid is that of the pod, or of the static pod that the object is the image of. */
export function isOfPod(uid: string, { metadata }: Pod): boolean {
  return metadata.uid === uid || metadata.annotations?.[mirrorAnnotation] === uid;
}

/** The addresses that a pod's status tells, canonical. */
export function podAddresses({ status }: Pod): Ip[] {
  const texts = status.podIPs?.map(({ ip }) => ip) ?? (status.podIP === undefined ? [] : [status.podIP]);
  return texts.flatMap((text) => parseIp(text) ?? []);
}

/** A Node's own addresses: where its kubelet says it is reached. */
export function nodeAddresses({ status }: Node): Ip[] {
  const reached = status.addresses?.filter(({ type }) => type === "InternalIP" || type === "ExternalIP") ?? [];
  return reached.flatMap(({ address }) => parseIp(address) ?? []);
}

/** Succeeded or Failed: its network is gone, or about to go. */
export const hasEnded = ({ status: { phase } }: Pod): boolean => phase === "Succeeded" || phase === "Failed";

/** A pod that has a network of its own and should be attached, as far as its object tells. */
export const wantsNetwork = (pod: Pod): boolean =>
  pod.spec.hostNetwork !== true && !hasEnded(pod) && pod.metadata.deletionTimestamp === undefined;

export const podKey = (namespace: string, name: string): string => `${namespace}/${name}`;

const byName = <T extends { metadata: { name: string } }>(all: readonly T[]): Map<string, T> =>
  new Map(all.map((one) => [one.metadata.name, one]));

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const held = map.get(key);
  if (held === undefined) map.set(key, [value]);
  else held.push(value);
}
