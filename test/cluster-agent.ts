// A whole agent in a cluster for tests: the real one with the real client, in a namespace of the test, against the lab's API server.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type ApiServer, startApiServer } from "../lab/kube/server.ts";
import { type AgentConfig, agentConfigSchema } from "../src/agent/config.ts";
import { serve } from "../src/agent/serve.ts";
import { statusSocket } from "../src/agent/status.ts";
import { parseConfig } from "../src/base/config.ts";
import { isFault } from "../src/base/fault.ts";
import { silentLog } from "../src/base/log.ts";
import { uptimeMs } from "../src/base/uptime.ts";
import { conflistFile } from "../src/cni/conflist.ts";
import { askAgent } from "../src/cli/agent-client.ts";
import { loadAddon } from "../src/kernel/addon.ts";
import type { Kernel } from "../src/kernel/contract.ts";
import { openKernel } from "../src/kernel/kernel.ts";
import { connect } from "../src/kube/connect.ts";
import type { Kube } from "../src/kube/contract.ts";
import { nodes, type Node } from "../src/kube/core-objects.ts";
import { type NodeNetwork, nodeNetworks } from "../src/kube/objects.ts";
import { defineOurKinds } from "./controller/kinds.ts";
import { addUplink, type CallOptions, type CniCall, runShim, shimPath, testConfig } from "./agent.ts";
import { makeNetns, type TestNetns } from "./netns.ts";
import { until } from "./until.ts";

/** The Node that the agent serves. */
export const ownNode = "node-1";

export interface ClusterAgent {
  api: ApiServer;
  /** An administrator's client. */
  kube: Kube;
  node: TestNetns;
  config: AgentConfig;
  /** Set this ahead, and addresses of the next agent, and of this one, cool faster. */
  clock: { aheadMs: number };
  /** Of an agent that starts: the longest silence of a watch of policies that it believes. */
  believes: { silentMaxMs: number | undefined };
  /** Starts the agent; `serving` settles when it takes pods, `done` when it has ended. */
  start(): Run;
  /** Stops the agent that runs. */
  stop(): Promise<void>;
  /** True once the runtime is told to send pods. */
  hasConflist(): boolean;
  cni(verb: string, call: CallOptions): Promise<CniCall>;
  ask(path: string): Promise<unknown>;
  /** Makes a Node; the agent's own if no name is given. */
  makeNode(name?: string): Promise<Node>;
  /** Answers the NodeNetwork as the controller does; waits until there is one. */
  giveBlocks(blocks: readonly string[], options?: { name?: string; addresses?: readonly string[] }): Promise<void>;
  network(name?: string): Promise<NodeNetwork | undefined>;
}

export interface Run {
  serving: Promise<void>;
  done: Promise<void>;
}

/** Makes node, API server and client; no Node is there yet and no agent runs. All of it goes when `t` ends. */
export async function makeClusterAgent(t: TestContext, settings: Record<string, unknown> = {}): Promise<ClusterAgent> {
  const api = await startApiServer();
  const address = { server: api.url };
  const limits = { retryMs: 50, retryMaxMs: 200 };
  const kube = connect({ address, userAgent: "test", limits });
  await defineOurKinds(kube);
  const node = makeNetns(t);
  addUplink(node);
  const directory = mkdtempSync(join(tmpdir(), "fairlead-agent-"));
  const config = parseConfig(
    agentConfigSchema,
    testConfig(directory, { blocks: [], settings: { kubernetes: {}, ...settings } }),
    "test configuration",
  );
  const clock = { aheadMs: 0 };
  const believes: ClusterAgent["believes"] = { silentMaxMs: undefined };
  let running: { stop: AbortController; done: Promise<void> } | undefined;

  const stop = async (): Promise<void> => {
    running?.stop.abort("test");
    const ending = running?.done;
    running = undefined;
    try {
      await ending;
    } catch (error) {
      if (!isFault(error, "node-replaced")) throw error; // the test that brings it about has seen it
    }
  };
  t.after(async () => {
    await stop();
    await kube.close();
    await api.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const network: ClusterAgent["network"] = async (name = ownNode) =>
    (await kube.list(nodeNetworks)).items.find(({ metadata }) => metadata.name === name);

  return {
    api,
    kube,
    node,
    config,
    clock,
    believes,
    stop,
    start: () => {
      const end = new AbortController();
      const kernel = openKernel({ nodeNetns: node.path, log: silentLog() });
      const agentKube = connect({ address, userAgent: "agent", limits });
      const { promise: serving, resolve: onServing } = Promise.withResolvers<void>();
      const served = serve({
        config,
        kernel,
        kube: agentKube,
        log: silentLog(),
        version: "test",
        shim: shimPath,
        door: loadAddon(),
        signal: end.signal,
        onServing,
        rehearsal: false,
        ...(believes.silentMaxMs === undefined ? {} : { silentMaxMs: believes.silentMaxMs }),
        uptime: () => uptimeMs() + clock.aheadMs,
      });
      const done = ended(served, kernel, agentKube);
      running = { stop: end, done };
      return { serving: Promise.race([serving, done]), done };
    },
    hasConflist: () => existsSync(join(config.paths.cniConf, conflistFile)),
    cni: (verb, call) => runShim(config, verb, call),
    ask: (path) => askAgent(statusSocket(config.paths.socket), path),
    makeNode: (name = ownNode) => kube.create(nodes, nodes.parse({ metadata: { name } })),
    network,
    giveBlocks: async (blocks, { name = ownNode, addresses = ["172.30.0.11", "fd00:30::11"] } = {}) => {
      let found: NodeNetwork | undefined;
      await until(`NodeNetwork ${name}`, async () => {
        found = await network(name);
        return found !== undefined;
      });
      const status = { nodeUid: found?.spec.nodeUid, blocks: blocks.map((cidr) => ({ cidr })), addresses };
      await kube.patch(nodeNetworks, { name }, { type: "merge", body: { status } }, { subresource: "status" });
    },
  };
}

/** Settles as the agent ends, once everything that it was given is closed. */
async function ended(served: Promise<void>, kernel: Kernel, kube: Kube): Promise<void> {
  try {
    await served;
  } finally {
    kernel.close();
    await kube.close();
  }
}
