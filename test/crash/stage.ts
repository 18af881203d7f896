// A node whose agents die: its namespace, a pod that must not feel it, the runtime's record of what is attached, and an agent at a time.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestContext } from "node:test";
import { askAgent } from "../../lab/audit/agent-view.ts";
import type { AuditedNode } from "../../lab/audit/node.ts";
import { type AgentConfig, agentConfigSchema } from "../../src/agent/config.ts";
import { present } from "../../src/base/assert.ts";
import { parseConfig } from "../../src/base/config.ts";
import { addUplink, testConfig, uplink } from "../agent.ts";
import { auditAtEnd } from "../audit.ts";
import { makeNetns, type TestNetns } from "../netns.ts";
import { type Heartbeat, startHeartbeat } from "./heartbeat.ts";
import { type AgentProcess, startProcess } from "./process.ts";
import { createRuntime, type Runtime } from "./runtime.ts";

/** The pod that is there throughout, and must never notice. */
export const bystander = "bystander";

const roomyBlocks = ["10.4.0.0/18", "fd00:10:4:1::/64"];

export interface Stage extends Omit<Runtime, "attached" | "settleDoubts"> {
  node: TestNetns;
  config: AgentConfig;
  /** All files of the agent lie in it. */
  directory: string;
  /** The agent that was started last. */
  agent(): AgentProcess;
  /** Starts an agent that must come to serve. */
  startAgent(): Promise<AgentProcess>;
  /** Starts one that cannot, and gives what it says of it. */
  failToStart(): Promise<string>;
  /** The agent serves, or does so after another start in its process: the last one may have failed, which is its right. */
  serves(): Promise<void>;
  /** Changes the state file of an agent that is stopped, by plain SQL. */
  edit(sql: string): void;
  /** Ms are over, for all that cools, in this agent and in those to come. */
  advance(ms: number): Promise<void>;
  /** Somebody sets the wall clock, back where that is negative: of this agent and of those to come. */
  jump(ms: number): Promise<void>;
  /** The node holds what is attached and nothing else, and whoever was there before is reached. */
  audit(when: string): Promise<void>;
}

export interface StageOptions {
  /** The node's own; room for all that cools while a matrix runs if absent. */
  blocks?: readonly string[];
  /** Puts a file system of its own in the place of the agent's directory, and takes it away when the test ends. */
  mount?: (directory: string) => void;
}

/** Makes the node with one pod attached, its agent running. Containers "c1" … have a namespace each, made when they are first named. */
export async function makeStage(
  t: TestContext,
  { blocks = roomyBlocks, mount = () => {} }: StageOptions = {},
): Promise<Stage> {
  const agents: AgentProcess[] = [];
  const heartbeats: Heartbeat[] = [];
  let aheadMs = 0;
  let jumpedMs = 0;
  const audited = (): AuditedNode => ({
    netnsPath: node.path,
    paths: config.paths,
    blocks: config.addresses.blocks,
    routes: config.routes,
    uplink,
    agent: "runs",
    known: [...runtime.attached.values()],
    deadFlows: "none",
    clockAheadMs: aheadMs,
  });
  const end = auditAtEnd(t, () => (agents.length === 0 ? undefined : audited()));
  // Next: what is removed after this must not be in use.
  t.after(async () => {
    for (const heartbeat of heartbeats) heartbeat.stop();
    for (const agent of agents) agent.signal("SIGKILL");
    await Promise.all(agents.map(({ ended }) => ended));
  });
  const directory = mkdtempSync(join(tmpdir(), "fairlead-crash-"));
  mount(directory);
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const node = makeNetns(t);
  addUplink(node);
  trackConnections(node);
  const configText = testConfig(directory, { blocks });
  const config = parseConfig(agentConfigSchema, configText, "test configuration");
  const runtime = createRuntime(t, node, config);

  const launch = (): AgentProcess => {
    const started = startProcess({ nodeNetns: node.path, config: configText, aheadMs, jumpedMs });
    agents.push(started);
    return started;
  };

  const reachAll: Stage["reachAll"] = async () => {
    // The bystander has its own, which go on all the time.
    await Promise.all([runtime.reachAll([bystander]), ...heartbeats.map((heartbeat) => heartbeat.beat())]);
  };

  const { attached: _attached, settleDoubts, ...calls } = runtime;
  const stage: Stage = {
    ...calls,
    node,
    config,
    directory,
    agent: () => present(agents.at(-1), "an agent"),
    startAgent: async () => {
      const started = launch();
      assert.equal(await started.outcome(), "serving");
      return started;
    },
    failToStart: async () => {
      const started = launch();
      const outcome = await started.outcome();
      assert.notEqual(outcome, "serving");
      await started.ended;
      return present(outcome, "why it cannot start");
    },
    reachAll,
    serves: async () => {
      if (await askAgent(config.paths.socket).then(Boolean, () => false)) return;
      const agent = stage.agent();
      agent.start();
      assert.equal(await agent.outcome(), "serving");
    },
    edit: (sql) => {
      const database = new DatabaseSync(stateFile(config));
      database.exec(sql);
      database.close();
    },
    advance: async (ms) => {
      aheadMs += ms;
      await stage.agent().advance(ms);
    },
    jump: async (ms) => {
      jumpedMs += ms;
      await stage.agent().jump(ms);
    },
    audit: async (when) => {
      await settleDoubts();
      assert.deepEqual(await end.problems(), [], when);
      await reachAll();
    },
  };
  await stage.startAgent();
  await stage.add(bystander);
  heartbeats.push(...stage.addressesOf(bystander).map((address) => startHeartbeat(node.path, address)));
  await stage.audit("before anything");
  // The audit looks for connections that should be gone: there must be some.
  assert.match(node.run("conntrack", "-L"), /dst=10\.4\.0\.2 /);
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
