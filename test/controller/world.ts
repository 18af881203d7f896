// A cluster for tests of the controller: a small API server, nodes that come and go, their agents, and a watch on what must always hold.

import { startApiServer, type ApiServer } from "../../lab/kube/server.ts";
import type { ControllerConfig } from "../../src/controller/config.ts";
import { isFault } from "../../src/base/fault.ts";
import { connect } from "../../src/kube/connect.ts";
import type { Kind, Kube, KubeObject } from "../../src/kube/contract.ts";
import { type Node, nodes } from "../../src/kube/core-objects.ts";
import { nodeEndpoints, nodeNetworks } from "../../src/kube/objects.ts";
import { type Guard, guardBlocks } from "./guard.ts";
import { defineOurKinds } from "./kinds.ts";

export type WorldConfig = Pick<ControllerConfig, "assign" | "ranges" | "serviceRanges"> &
  Partial<Pick<ControllerConfig, "policy">>;

export interface World {
  server: ApiServer;
  /** Whoever else writes in the cluster. */
  kube: Kube;
  config: WorldConfig;
  guard: Guard;
  /** The replicas' clock, ms since 1970. */
  nowMs: number;
  /** A kubelet registers its Node; `podCIDRs` as somebody else has written them. */
  addNode(name: string, parts?: { podCIDRs?: string[]; address?: string }): Promise<Node>;
  /** The Node goes; what its agent has made stays. */
  removeNode(name: string): Promise<void>;
  /** The agent of that node makes, or corrects, its NodeNetwork and NodeEndpoints. */
  runAgent(name: string): Promise<void>;
  /** The agent of the Node of that name that went last makes its NodeNetwork anew: it has not heard yet. */
  runGhost(name: string): Promise<void>;
  close(): Promise<void>;
}

export async function createWorld(config: WorldConfig): Promise<World> {
  const server = await startApiServer();
  const kube = connect({ address: { server: server.url }, userAgent: "world" });
  await defineOurKinds(kube);
  let hosts = 0;
  const gone = new Map<string, string>();
  return {
    server,
    kube,
    config,
    guard: guardBlocks(server.store),
    nowMs: Date.UTC(2026, 0, 1),
    addNode: async (name, { podCIDRs, address } = {}) => {
      hosts += 1;
      const node = {
        metadata: { name },
        spec: podCIDRs === undefined ? {} : { podCIDR: podCIDRs[0] ?? "", podCIDRs },
        status: {},
      };
      await kube.create(nodes, node);
      const body = { status: { addresses: [{ type: "InternalIP", address: address ?? `172.30.0.${hosts}` }] } };
      return await kube.patch(nodes, { name }, { type: "merge", body }, { subresource: "status" });
    },
    removeNode: async (name) => {
      const stored = server.store.get("/nodes", name);
      if (stored !== undefined) gone.set(name, nodes.parse(stored.object).metadata.uid ?? "");
      await kube.remove(nodes, { name });
    },
    runGhost: async (name) => {
      const nodeUid = gone.get(name);
      if (nodeUid !== undefined)
        await kube.create(nodeNetworks, { metadata: { name }, spec: { nodeUid, agentVersion: "0.1.0" } });
    },
    runAgent: (name) => runAgent(kube, name),
    close: async () => {
      await kube.close();
      await server.close();
    },
  };
}

async function runAgent(kube: Kube, name: string): Promise<void> {
  const { metadata } = await kube.get(nodes, { name });
  const nodeUid = metadata.uid ?? "";
  const spec = { nodeUid, agentVersion: "0.1.0" };
  await put(kube, nodeNetworks, { metadata: { name }, spec }, { spec });
  await put(kube, nodeEndpoints, { metadata: { name }, nodeUid, endpoints: [] }, { nodeUid });
}

/** Creates the object, or brings `change` to the one that is there. */
async function put<T extends KubeObject>(kube: Kube, kind: Kind<T>, object: T, change: object): Promise<void> {
  try {
    await kube.create(kind, object);
  } catch (error) {
    if (!isFault(error, "kube-exists")) throw error;
    await kube.patch(kind, { name: object.metadata.name }, { type: "merge", body: change });
  }
}
