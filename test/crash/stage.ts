// A node whose agents die: its namespace, a pod that must not feel it, the runtime's record of what is attached, and an agent at a time.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { type AgentConfig, agentConfigSchema } from "../../src/agent/config.ts";
import { statusSocket } from "../../src/agent/status.ts";
import { present } from "../../src/base/assert.ts";
import { parseConfig } from "../../src/base/config.ts";
import { askAgent } from "../../src/cli/agent-client.ts";
import { addUplink, type CallOptions, type CniCall, type CniResult, runShim, testConfig } from "../agent.ts";
import { makeNetns, type TestNetns } from "../netns.ts";
import { type Attached, auditNode } from "./audit.ts";
import { type Heartbeat, startHeartbeat } from "./heartbeat.ts";
import { type AgentProcess, startProcess } from "./process.ts";
import { openReader, type Reader } from "./reader.ts";

const run = promisify(execFile);

/** The pod that is there throughout, and must never notice. */
export const bystander = "bystander";

/** Room for all that cools while a matrix runs. */
const blocks = ["10.4.0.0/18", "fd00:10:4:1::/64"];

/** A call that finds no agent, or loses it, is answered in this time: see FAIRLEAD_CONNECT_MS in test/agent.ts. */
const heardWithinMs = 3000;

/** What a runtime got. */
export interface Heard extends CniCall {
  /** Code of the error object; 0 for success. */
  code: number;
}

export interface Stage {
  node: TestNetns;
  reader: Reader;
  config: AgentConfig;
  /** The agent that was started last. */
  agent(): AgentProcess;
  /** Starts an agent that must come to serve. */
  startAgent(): Promise<AgentProcess>;
  /** The agent serves, or does so after another start in its process: the last one may have failed, which is its right. */
  serves(): Promise<void>;
  /** Calls the plugin: bounded, and an error is an error object. */
  call(verb: string, options?: CallOptions): Promise<Heard>;
  /** ADD of a container into its own namespace, whatever comes of it. */
  tryAdd(containerId: string): Promise<Heard>;
  /** `env`: more for the shim. */
  tryDelete(containerId: string, env?: Record<string, string>): Promise<Heard>;
  /** ADD that must succeed, and be true: the pod is reached. */
  add(containerId: string): Promise<void>;
  /** DEL that must succeed. */
  delete(containerId: string): Promise<void>;
  /** GC that keeps these containers. */
  collect(kept: readonly string[]): Promise<Heard>;
  /** Changes the state file of an agent that is stopped, by plain SQL. */
  edit(sql: string): void;
  /** The runtime's own record is wrong about this one: the agent's is believed, once it is asked. */
  doubt(containerId: string): void;
  /** The node holds what is attached and nothing else, and whoever was there before is reached. */
  audit(when: string): Promise<void>;
  netnsOf(containerId: string): TestNetns;
}

/** Makes the node with one pod attached, its agent running. Containers "c1" … have a namespace each, made when they are first named. */
export async function makeStage(t: TestContext): Promise<Stage> {
  const agents: AgentProcess[] = [];
  const readers: Reader[] = [];
  const heartbeats: Heartbeat[] = [];
  // First of all: what is removed after this must not be in use.
  t.after(async () => {
    for (const reader of readers) reader.close();
    for (const heartbeat of heartbeats) heartbeat.stop();
    for (const agent of agents) agent.signal("SIGKILL");
    await Promise.all(agents.map(({ ended }) => ended));
  });
  const directory = mkdtempSync(join(tmpdir(), "fairlead-crash-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const node = makeNetns(t);
  addUplink(node);
  trackConnections(node);
  const configText = testConfig(directory, { blocks });
  const config = parseConfig(agentConfigSchema, configText, "test configuration");
  const open = (netns: TestNetns): Reader => {
    const reader = openReader(netns.name);
    readers.push(reader);
    return reader;
  };
  const reader = open(node);
  const namespaces = new Map<string, { netns: TestNetns; reader: Reader }>();
  const attached = new Map<string, Attached>();
  const doubted = new Set<string>();

  const netnsOf = (containerId: string): TestNetns => {
    const found = namespaces.get(containerId);
    if (found !== undefined) return found.netns;
    const netns = makeNetns(t);
    namespaces.set(containerId, { netns, reader: open(netns) });
    return netns;
  };

  async function call(verb: string, options: CallOptions = {}): Promise<Heard> {
    const startedMs = performance.now();
    const answer = await runShim(config, verb, options);
    const tookMs = Math.round(performance.now() - startedMs);
    assert.ok(tookMs < heardWithinMs, `${verb} was answered after ${tookMs} ms`);
    if (answer.exitCode === 0) return { ...answer, code: 0 };
    const { code, msg } = JSON.parse(answer.stdout) as { code: number; msg: string };
    assert.ok(code > 0 && msg.length > 0, answer.stdout);
    return { ...answer, code };
  }

  async function tryAdd(containerId: string): Promise<Heard> {
    const pod = netnsOf(containerId);
    const heard = await call("ADD", { containerId, netns: pod.path });
    if (heard.code === 0) {
      const { ips } = JSON.parse(heard.stdout) as CniResult;
      const addresses = ips.map(({ address }) => address.slice(0, address.indexOf("/")));
      attached.set(containerId, { containerId, addresses });
      await reach([containerId]);
    }
    return heard;
  }

  async function tryDelete(containerId: string, env: Record<string, string> = {}): Promise<Heard> {
    const heard = await call("DEL", { containerId, netns: netnsOf(containerId).path, env });
    if (heard.code === 0) attached.delete(containerId);
    return heard;
  }

  /** Over both families, both ways: a ping and its answer. */
  async function reach(ids: readonly string[]): Promise<void> {
    const targets = ids.flatMap((id) => attached.get(id)?.addresses ?? []);
    assert.equal(targets.length, ids.length * 2, `${ids.join(", ")} have an address of each family`);
    await Promise.all(
      targets.map((target) => run("ip", ["netns", "exec", node.name, "ping", "-q", "-c1", "-W2", target])),
    );
  }

  async function settleDoubts(): Promise<void> {
    if (doubted.size === 0) return;
    const pods = (await askAgent(statusSocket(config.paths.socket), "/pods")) as Attached[];
    for (const id of doubted) {
      const held = pods.find(({ containerId }) => containerId === id);
      if (held === undefined) attached.delete(id);
      else attached.set(id, { containerId: id, addresses: held.addresses });
    }
    doubted.clear();
  }

  const stage: Stage = {
    node,
    reader,
    config,
    agent: () => present(agents.at(-1), "an agent"),
    startAgent: async () => {
      const started = startProcess({ nodeNetns: node.path, config: configText });
      agents.push(started);
      const outcome = await started.outcome();
      assert.equal(outcome, "serving");
      return started;
    },
    serves: async () => {
      if (await askAgent(statusSocket(config.paths.socket), "/status").then(Boolean, () => false)) return;
      const agent = stage.agent();
      agent.start();
      assert.equal(await agent.outcome(), "serving");
    },
    call,
    tryAdd,
    tryDelete,
    add: async (containerId) => {
      const { stdout, code } = await tryAdd(containerId);
      assert.equal(code, 0, `ADD ${containerId}: ${stdout}`);
    },
    delete: async (containerId) => {
      const { stdout, code } = await tryDelete(containerId);
      assert.equal(code, 0, `DEL ${containerId}: ${stdout}`);
    },
    collect: async (kept) => {
      const list = kept.map((containerID) => ({ containerID, ifname: "eth0" }));
      const heard = await call("GC", { config: { "cni.dev/valid-attachments": list } });
      if (heard.code === 0) for (const id of attached.keys()) if (!kept.includes(id)) attached.delete(id);
      return heard;
    },
    edit: (sql) => {
      const database = new DatabaseSync(stateFile(config));
      database.exec(sql);
      database.close();
    },
    doubt: (containerId) => void doubted.add(containerId),
    audit: async (when) => {
      await settleDoubts();
      const pods = new Map([...namespaces].map(([id, { reader }]) => [id, reader]));
      const found = await auditNode({ node: node.name, reader, pods, config, attached: [...attached.values()] });
      assert.deepEqual(found, [], when);
      await Promise.all([
        reach([...attached.keys()].filter((id) => id !== bystander)),
        ...heartbeats.map((heartbeat) => heartbeat.beat()),
      ]);
    },
    netnsOf,
  };
  await stage.startAgent();
  await stage.add(bystander);
  heartbeats.push(...(attached.get(bystander)?.addresses ?? []).map((address) => startHeartbeat(node.name, address)));
  await stage.audit("before anything");
  return stage;
}

export function stateFile({ paths }: AgentConfig): string {
  return join(paths.state, "fairlead.db");
}

/** The kernel tracks connections once a rule asks for their state. */
function trackConnections(node: TestNetns): void {
  node.run("nft", "add table inet seen");
  node.run("nft", "add chain inet seen new { type filter hook prerouting priority 0; }");
  node.run("nft", "add rule inet seen new ct state new counter");
}
