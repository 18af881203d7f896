// Nodes and pods that are objects only: what a cluster knows of them is told as their kubelets and agents would.

import { z } from "zod";
import type { Api } from "../lab/api.ts";
import { podObject } from "../lab/pod-object.ts";
import { all, until } from "../lab/waiting.ts";
import { present } from "../src/base/assert.ts";
import { addressAt, type Cidr, parseCidr } from "../src/net/cidr.ts";

/** Calls to the API server at once. */
export const callsAtOnce = 16;
const blocksWithinMs = 120_000;
const ours = "/apis/fairlead.dev/v1alpha1";

const withUid = z.object({ metadata: z.object({ uid: z.string() }) });
const network = z.object({
  status: z.object({ blocks: z.array(z.object({ cidr: z.string() })) }).prefault({ blocks: [] }),
});

/** Does `work` for each item, `callsAtOnce` at a time. */
export async function eachOf<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) {
      signal.throwIfAborted();
      await work(item);
    }
  };
  await all(Array.from({ length: callsAtOnce }, worker));
}

/** A Node as its kubelet makes it, and its NodeNetwork as its agent does; gives the Node's uid. All of them lie behind one address of the wire. */
export async function makeNode(api: Api, name: string): Promise<string> {
  const addresses = ["172.30.0.200", "fd00:30::200"].map((address) => ({ type: "InternalIP", address }));
  const node = await api.must("POST", "/api/v1/nodes", { metadata: { name }, spec: {}, status: { addresses } });
  const { uid } = withUid.parse(node).metadata;
  await api.must("POST", `${ours}/nodenetworks`, {
    apiVersion: "fairlead.dev/v1alpha1",
    kind: "NodeNetwork",
    metadata: { name, ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid }] },
    spec: { nodeUid: uid, agentVersion: "simulated" },
  });
  return uid;
}

export interface CrowdWish {
  nodes: number;
  podsOfNode: number;
  labels: Readonly<Record<string, string>>;
  signal: AbortSignal;
}

/** Makes nodes whose pods have these labels, in the default namespace, and an address of each of their node's blocks. */
export async function makeCrowd(api: Api, { nodes, podsOfNode, labels, signal }: CrowdWish): Promise<void> {
  const names = Array.from({ length: nodes }, (_, index) => `crowd-${index}`);
  const podsOf = async (name: string): Promise<void> => {
    const nodeUid = await makeNode(api, name);
    const blocks = await blocksOf(api, name, signal);
    const endpoints: object[] = [];
    for (let index = 0; index < podsOfNode; index += 1) {
      const pod = `${name}-${index}`;
      const object = { ...podObject(pod, { node: name, labels }), status: { phase: "Running" } };
      const { uid } = withUid.parse(await api.must("POST", "/api/v1/namespaces/default/pods", object)).metadata;
      // The first addresses of a block are the network's own.
      const addresses = blocks.map((block) => addressAt(block, BigInt(index + 2)));
      endpoints.push({ namespace: "default", name: pod, uid, interface: "eth0", addresses });
    }
    await api.must("POST", `${ours}/nodeendpoints`, {
      apiVersion: "fairlead.dev/v1alpha1",
      kind: "NodeEndpoints",
      metadata: { name, ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid: nodeUid }] },
      nodeUid,
      endpoints,
    });
  };
  await eachOf(names, podsOf, signal);
}

async function blocksOf(api: Api, name: string, signal: AbortSignal): Promise<Cidr[]> {
  let found: string[] = [];
  const look = async (): Promise<string | undefined> => {
    const { status } = network.parse(await api.must("GET", `${ours}/nodenetworks/${name}`));
    found = status.blocks.map(({ cidr }) => cidr);
    return found.length === 0 ? "it has none" : undefined;
  };
  await until(look, { what: `blocks of ${name}`, withinMs: blocksWithinMs, everyMs: 100, signal });
  return found.map((text) => present(parseCidr(text), text));
}

const slices = z.object({ items: z.array(z.object({ peer: z.string(), endpoints: z.array(z.unknown()) })) });

/** Waits until the membership slices hold so many members of a group. */
export async function untilMembers(api: Api, group: string, count: number, signal: AbortSignal): Promise<void> {
  const look = async (): Promise<string | undefined> => {
    const { items } = slices.parse(await api.must("GET", `${ours}/membershipslices`));
    const ofGroup = items.filter(({ peer }) => peer.includes(group));
    const held = ofGroup.reduce((sum, { endpoints }) => sum + endpoints.length, 0);
    return held < count ? `${held} of ${count}` : undefined;
  };
  await until(look, { what: `members of ${group}`, withinMs: blocksWithinMs, everyMs: 250, signal });
}
