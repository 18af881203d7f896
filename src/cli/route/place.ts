// The two ends of a way: a pod, a node or an address, found among a cluster's objects, with what is wrong with them. Pure.

import type { Node, Pod } from "../../kube/core-objects.ts";
import { type Cidr, cidrContains } from "../../net/cidr.ts";
import { type Ip, ipFamily } from "../../net/ip.ts";
import { foreign } from "../cluster/finding.ts";
import { findingsOfNode } from "../cluster/node-findings.ts";
import {
  type ClusterView,
  hasEnded,
  isOfPod,
  nodeAddresses,
  type OwnedBlock,
  type PlacedEndpoint,
  podAddresses,
  podKey,
} from "../cluster/view.ts";

/** What is in the way, with its cure. */
export interface Remark {
  says: string;
  cure: string;
}

interface Common {
  /** As it is called in the output: "pod shop/web-0 on node-1". */
  title: string;
  addresses: readonly Ip[];
  /** Each means that packets do not get there. */
  problems: readonly Remark[];
  /** Worth knowing. */
  notes: readonly string[];
  /** It was named by this address alone: its others do not matter. */
  byAddress?: true;
}

export interface PodPlace extends Common {
  kind: "pod";
  /** "namespace/name". */
  key: string;
  /** Absent where it is bound to none. */
  node?: string;
  ifname: string;
}

export interface NodePlace extends Common {
  kind: "node";
  node: string;
}

export interface AddressPlace extends Common {
  kind: "address";
  /** The node's block that it lies in, where it lies in one. */
  block?: OwnedBlock;
  /** The range of node blocks that it lies in, where no node has its block. */
  range?: Cidr;
}

export type Place = PodPlace | NodePlace | AddressPlace;

/** A pod as an end; its node, where it has no network of its own. */
export function podPlace(pod: Pod, view: ClusterView): PodPlace | NodePlace {
  const { namespace = "", name } = pod.metadata;
  const key = podKey(namespace, name);
  const { nodeName } = pod.spec;
  if (pod.spec.hostNetwork === true && nodeName !== undefined && !hasEnded(pod)) {
    if (view.fromFiles && view.node(nodeName) === undefined) return onUnknownNode(key, nodeName);
    const place = nodePlace(nodeName, view);
    const note = `pod ${key} uses its node's network (hostNetwork): this is the way of node ${nodeName}`;
    return { ...place, title: `pod ${key} on the network of ${nodeName}`, notes: [note, ...place.notes] };
  }
  const own = view.attachments(namespace, name).filter(({ endpoint }) => isOfPod(endpoint.uid, pod));
  const held = own.flatMap(({ endpoint }) => endpoint.addresses);
  const told = podAddresses(pod);
  const node = nodeName === undefined ? undefined : view.node(nodeName);
  const differs = held.length > 0 && told.some((address) => !held.includes(address));
  return {
    kind: "pod",
    title: `pod ${key}${nodeName === undefined ? "" : ` on ${nodeName}`}`,
    key,
    ...(nodeName === undefined ? {} : { node: nodeName }),
    ifname: own[0]?.endpoint.interface ?? "eth0",
    addresses: held.length > 0 ? held : told,
    problems: podProblems(pod, own, view),
    notes: [
      ...(differs
        ? [
            `the status of pod ${key} tells ${told.join(" ")}, its attachment has ${held.join(" ")}; the attachment counts`,
          ]
        : []),
      ...(node === undefined ? [] : notesOnNode(node, view)),
    ],
  };
}

/** Of files, which need not have nodes. */
function onUnknownNode(key: string, node: string): NodePlace {
  const says = `pod ${key} is on its node's network, and no file has ${node === "" ? "that node" : `Node ${node}`}`;
  const cure = `give ${node === "" ? "spec.nodeName and a Node" : "it"}, with its status.addresses`;
  return {
    kind: "node",
    title: `pod ${key} on its node's network`,
    node,
    addresses: [],
    problems: [{ says, cure }],
    notes: [],
  };
}

/** The first reason for which nothing gets to or from the pod, in the order in which a pod comes to life; then doubled addresses. */
function podProblems(pod: Pod, own: readonly PlacedEndpoint[], view: ClusterView): Remark[] {
  const { namespace = "", name } = pod.metadata;
  const key = podKey(namespace, name);
  const { nodeName } = pod.spec;
  if (hasEnded(pod)) {
    const says = `pod ${key} has ended (${pod.status.phase}): it has no network any more`;
    return [{ says, cure: "name a pod that runs" }];
  }
  if (nodeName === undefined) {
    const cure = `kubectl -n ${namespace} describe pod ${name} says what it waits for`;
    return [{ says: `pod ${key} is on no node yet`, cure }];
  }
  if (own.length === 0) return [unattached(pod, nodeName, view)];
  const elsewhere = own.find(({ node }) => node !== nodeName);
  if (elsewhere !== undefined) {
    const says = `pod ${key} is bound to ${nodeName}, and its attachment is on ${elsewhere.node}`;
    return [{ says, cure: "delete the pod; it is made anew" }];
  }
  return own.flatMap(({ endpoint }) => endpoint.addresses.flatMap((address) => doubled(address, view)));
}

function unattached(pod: Pod, nodeName: string, view: ClusterView): Remark {
  const { namespace = "", name } = pod.metadata;
  const key = podKey(namespace, name);
  const node = view.node(nodeName);
  if (node === undefined) return { says: `node ${nodeName} of pod ${key} is gone`, cure: "delete the pod" };
  const trouble = findingsOfNode(node, view).find(({ state }) => state === "bad");
  const told = podAddresses(pod);
  if (told.length > 0) {
    const cure = `fairlead pods on ${nodeName} says whether Fairlead attached it; if not, another plugin did: delete the pod`;
    const says = `pod ${key} has ${told.join(" ")}, and NodeEndpoints ${nodeName} knows no attachment of it`;
    return { says, cure: trouble?.cure ?? cure };
  }
  const earlier = view.attachments(namespace, name)[0];
  const because =
    trouble !== undefined
      ? `: ${trouble.object} ${trouble.says}`
      : earlier !== undefined
        ? `; the attachment on ${earlier.node} is of an earlier pod of this name (uid ${foreign(earlier.endpoint.uid)})`
        : "";
  return {
    says: `pod ${key} is not attached on ${nodeName} yet${because}`,
    cure:
      trouble?.cure ??
      `kubectl -n ${namespace} describe pod ${name} has the error of its ADD, the agent's log has more`,
  };
}

function doubled(address: Ip, view: ClusterView): Remark[] {
  const holders = view.holders(address);
  if (holders.length < 2) return [];
  const names = holders.map(({ node, endpoint }) => `${endpoint.namespace}/${endpoint.name} on ${node}`);
  return [{ says: `${address} is published for several: ${names.join(", ")}`, cure: "delete all but one of them" }];
}

/** A node as an end. It must be there. */
export function nodePlace(name: string, view: ClusterView): NodePlace {
  const node = view.node(name);
  const status = view.network(name)?.status;
  const answered = status !== undefined && status.nodeUid === node?.metadata.uid && status.addresses.length > 0;
  const addresses = answered ? status.addresses : node === undefined ? [] : nodeAddresses(node);
  const cure = view.fromFiles
    ? "give its Node status.addresses"
    : `its kubelet has to report one: kubectl describe node ${name}`;
  return {
    kind: "node",
    title: `node ${name}`,
    node: name,
    addresses,
    problems: addresses.length > 0 ? [] : [{ says: `node ${name} has no address`, cure }],
    notes: node === undefined ? [] : notesOnNode(node, view),
  };
}

/** Words on a node that somebody does not vouch for; packets may pass all the same. */
export function notesOnNode(node: Node, view: ClusterView): string[] {
  const { name } = node.metadata;
  const ready = node.status.conditions?.find(({ type }) => type === "Ready");
  const down = findingsOfNode(node, view).some(({ code }) => code === "agent-not-running");
  return [
    ...(ready === undefined || ready.status === "True"
      ? []
      : [`node ${name} is not Ready: ${foreign(ready.reason ?? ready.status)}`]),
    ...(down ? [`the agent of ${name} does not run: its routes are as it left them`] : []),
  ];
}

/** Whoever has the address: a pod, a node, or nobody. */
export function addressPlace(address: Ip, view: ClusterView): Place {
  const one = (place: PodPlace | NodePlace): Place => ({ ...place, addresses: [address], byAddress: true });
  const holders = view.holders(address);
  for (const { endpoint } of holders) {
    const pod = view.pod(endpoint.namespace, endpoint.name);
    if (pod !== undefined && isOfPod(endpoint.uid, pod)) return one(podPlace(pod, view));
  }
  const node = view.nodes.find((other) => nodeAddresses(other).includes(address));
  if (node !== undefined) return one(nodePlace(node.metadata.name, view));
  const told = view.pods.find(
    (pod) => pod.spec.hostNetwork !== true && !hasEnded(pod) && podAddresses(pod).includes(address),
  );
  if (told !== undefined) return one(podPlace(told, view));
  return unowned(address, holders[0], view);
}

function unowned(address: Ip, holder: PlacedEndpoint | undefined, view: ClusterView): AddressPlace {
  const base = {
    kind: "address",
    title: `address ${address}`,
    addresses: [address],
    notes: [],
    byAddress: true,
  } as const;
  const block = view.blockOf(address);
  const within = block === undefined ? {} : { block };
  if (holder !== undefined) {
    const { namespace, name } = holder.endpoint;
    const says = `${address} is held by the attachment of ${namespace}/${name} on ${holder.node}, and that pod is gone`;
    const cure = `it is free when its sandbox is deleted; if it stays: fairlead check on ${holder.node}`;
    return { ...base, ...within, problems: [{ says, cure }] };
  }
  if (block !== undefined) {
    const says = `no pod has ${address}: in block ${block.block} of node ${block.node} it is free, or rests after its last pod`;
    return {
      ...base,
      ...within,
      problems: [{ says, cure: "kubectl get pods -A -o wide lists the addresses of pods" }],
    };
  }
  const range = view.ledgers.map(({ spec }) => spec.range).find((one) => cidrContains(one, address));
  if (range === undefined) return { ...base, problems: [] };
  const says = `no node has a block with ${address}; it lies in ${range}, out of which nodes get their blocks`;
  return { ...base, range, problems: [{ says, cure: "fairlead nodes lists the blocks that nodes have" }] };
}

/** The first address of a family. */
export const addressOf = ({ addresses }: Place, family: 4 | 6): Ip | undefined =>
  addresses.find((address) => ipFamily(address) === family);
