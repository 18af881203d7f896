// A runtime for agents that die: it keeps its own record of what is attached, hears every answer out, and reaches what it was given.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { askAgent } from "../../lab/audit/agent-view.ts";
import { livingName } from "../../lab/audit/living.ts";
import type { AgentConfig } from "../../src/agent/config.ts";
import { present } from "../../src/base/assert.ts";
import { type CallOptions, type CniCall, idOf, runShim } from "../agent.ts";
import { type Attached, noteCall } from "../attached.ts";
import { makeNetns, type TestNetns } from "../netns.ts";

const run = promisify(execFile);

/** A call that finds no agent, or loses it, is answered in this time: see FAIRLEAD_CONNECT_MS in test/agent.ts. */
const heardWithinMs = 15_000;

/** What a runtime got. */
export interface Heard extends CniCall {
  /** Code of the error object; 0 for success. */
  code: number;
}

export interface Runtime {
  /** Its own record, right as far as it knows. */
  attached: Attached;
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
  /** The runtime's own record is wrong about this one: the agent's is believed, once it is asked. */
  doubt(containerId: string): void;
  /** Asks the agent about all that is in doubt. */
  settleDoubts(): Promise<void>;
  /** The runtime has lost its record of this one. */
  forget(containerId: string): void;
  /** Every one that is attached, but for these, is reached over both families, both ways: a ping and its answer. */
  reachAll(but?: readonly string[]): Promise<void>;
  addressesOf(containerId: string): readonly string[];
  netnsOf(containerId: string): TestNetns;
}

/** Makes it. Containers "c1" … have a namespace each, made when they are first named. */
export function createRuntime(t: TestContext, node: TestNetns, config: AgentConfig): Runtime {
  const attached: Attached = new Map();
  const namespaces = new Map<string, TestNetns>();
  const doubted = new Set<string>();
  const addressesOf = (containerId: string): readonly string[] => attached.get(nameOf(containerId))?.addresses ?? [];

  const netnsOf = (containerId: string): TestNetns => {
    const netns = namespaces.get(containerId) ?? makeNetns(t);
    namespaces.set(containerId, netns);
    return netns;
  };

  async function call(verb: string, options: CallOptions = {}): Promise<Heard> {
    const startedMs = performance.now();
    const answer = await runShim(config, verb, options);
    const tookMs = Math.round(performance.now() - startedMs);
    assert.ok(tookMs < heardWithinMs, `${verb} was answered after ${tookMs} ms`);
    noteCall(attached, { ...idOf(options), ...answer, verb });
    if (answer.exitCode === 0) return { ...answer, code: 0 };
    const { code, msg } = JSON.parse(answer.stdout) as { code: number; msg: string };
    assert.ok(code > 0 && msg.length > 0, answer.stdout);
    return { ...answer, code };
  }

  async function tryAdd(containerId: string): Promise<Heard> {
    const pod = netnsOf(containerId);
    const heard = await call("ADD", { containerId, netns: pod.path });
    if (heard.code === 0) await reach([containerId]);
    return heard;
  }

  async function tryDelete(containerId: string, env: Record<string, string> = {}): Promise<Heard> {
    return call("DEL", { containerId, netns: netnsOf(containerId).path, env });
  }

  /** Over both families, both ways: a ping and its answer. */
  async function reach(ids: readonly string[]): Promise<void> {
    const targets = ids.flatMap((id) => addressesOf(id));
    assert.equal(targets.length, ids.length * 2, `${ids.join(", ")} have an address of each family`);
    await Promise.all(
      targets.map((target) => run("nsenter", [`--net=${node.path}`, "ping", "-q", "-c1", "-W2", target])),
    );
  }

  return {
    attached,
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
      return call("GC", { config: { "cni.dev/valid-attachments": list } });
    },
    doubt: (containerId) => void doubted.add(nameOf(containerId)),
    settleDoubts: async () => {
      if (doubted.size === 0) return;
      const { attachments } = await askAgent(config.paths.socket);
      for (const name of doubted) {
        const held = attachments.find(({ living }) => living.name === name);
        if (held === undefined) attached.delete(name);
        else attached.set(name, held.living);
      }
      doubted.clear();
    },
    forget: (containerId) => void attached.delete(nameOf(containerId)),
    reachAll: (but = []) => reach([...attached.keys()].map(containerOf).filter((id) => !but.includes(id))),
    addressesOf,
    netnsOf,
  };
}

const nameOf = (containerId: string): string => livingName({ network: "fairlead", containerId, ifname: "eth0" });
const containerOf = (name: string): string => present(name.split("/")[1], name);
