// A node under test and its pods: the calls that a runtime makes there, with every variable and key open to change.

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, type TestContext } from "node:test";
import { statusSocket } from "../../src/agent/status.ts";
import { askAgent } from "../../src/cli/agent-client.ts";
import { startTestAgent, type TestAgent, type TestAgentOptions } from "../agent.ts";
import { makeNetns, type TestNetns } from "../netns.ts";
import { type Outcome, type Result, resultOf, runPlugin } from "./runtime.ts";

/** What lives as long as a test, or as its whole file. */
export type Scope = Pick<TestContext, "after">;

/** Things in it are removed when the last test of the file has ended. */
export const fileScope: Scope = { after: (work) => after(work as () => void) };

/** One attachment as a runtime names it. */
export interface Pod {
  id: string;
  ifname: string;
  ns: TestNetns;
}

export interface CallChange {
  /** Changes to the environment; an undefined value takes the variable away. */
  env?: Readonly<Record<string, string | undefined>>;
  /** Keys of the configuration beside name, type and version; an undefined value takes the key away. */
  conf?: Readonly<Record<string, unknown>>;
  /** Standard input instead of a configuration. */
  stdin?: string | Uint8Array;
  /** Another plugin than the installed one. */
  program?: string;
  uid?: number;
  around?: string;
  judged?: boolean;
}

export interface TestNode {
  agent: TestAgent;
  /** The node's own namespace. */
  ns: TestNetns;
  /** The installed plugin. */
  plugin: string;
  /** A fresh namespace with a container id of its own. */
  pod(t: Scope): Pod;
  /** What a runtime sets for `verb`. */
  env(verb: string, pod?: Pod, change?: CallChange["env"]): Record<string, string>;
  /** What a runtime writes to stdin. */
  conf(change?: CallChange["conf"]): Record<string, unknown>;
  call(verb: string, pod?: Pod, change?: CallChange): Promise<Outcome>;
  /** ADD that must succeed. */
  add(pod: Pod, change?: CallChange): Promise<Result>;
  /** Several calls of one verb at once, one for each pod. */
  each(verb: string, pods: readonly Pod[], change?: CallChange): Promise<Outcome[]>;
}

/** Starts an agent in a node of its own. */
export async function startNode(t: Scope, options: TestAgentOptions = {}): Promise<TestNode> {
  const scope = { after: t.after.bind(t), passed: true, diagnostic: () => {} };
  const agent = await startTestAgent(scope, { ...options, audited: false });
  return nodeOf({ ns: agent.node, cniBin: agent.config.paths.cniBin, socket: agent.config.paths.socket, agent });
}

interface NodeParts {
  ns: TestNetns;
  cniBin: string;
  socket: string;
  agent: TestAgent;
}

function nodeOf({ ns, cniBin, socket, agent }: NodeParts): TestNode {
  const plugin = join(cniBin, "fairlead-cni");
  const callerOf = createCaller({ cniBin, socket });
  const call: TestNode["call"] = (verb, pod, { env, conf, stdin, program = plugin, ...how } = {}) =>
    runPlugin(program, {
      env: callerOf.env(verb, pod, env),
      stdin: stdin ?? JSON.stringify(callerOf.conf(conf)),
      ...how,
    });
  return {
    agent,
    ns,
    plugin,
    pod: makePod,
    ...callerOf,
    call,
    add: async (pod, change) => resultOf(await call("ADD", pod, change)),
    each: (verb, pods, change) => Promise.all(pods.map((pod) => call(verb, pod, change))),
  };
}

/** A fresh namespace with a container id of its own, as long as a runtime's. */
export function makePod(t: Scope): Pod {
  return { id: randomBytes(32).toString("hex"), ifname: "eth0", ns: makeNetns(t) };
}

/** The environment and the configuration of a runtime that finds plugins in `cniBin`; the plugin finds its agent at `socket`. */
export function createCaller({ cniBin, socket }: { cniBin: string; socket: string }): Pick<TestNode, "env" | "conf"> {
  return {
    env: (verb, pod, change = {}) => {
      const all: Record<string, string | undefined> = {
        CNI_COMMAND: verb,
        CNI_PATH: cniBin,
        ...(pod === undefined ? {} : { CNI_CONTAINERID: pod.id, CNI_NETNS: pod.ns.path, CNI_IFNAME: pod.ifname }),
        // Not CNI's: where this agent listens, and short patience with one that is not there.
        FAIRLEAD_SOCKET: socket,
        FAIRLEAD_CONNECT_MS: "100",
        ...change,
      };
      return Object.fromEntries(
        Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
      );
    },
    conf: (change = {}) => ({ cniVersion: "1.1.0", name: "fairlead", type: "fairlead-cni", ...change }),
  };
}

/** Calls that wait behind others at the agent at `socket`. */
export async function waitingCalls(socket: string): Promise<number> {
  const { calls } = (await askAgent(statusSocket(socket), "/status")) as { calls: { waiting: number } };
  return calls.waiting;
}

/** Attachments that the agent at `socket` has on record. */
export const recorded = async (socket: string): Promise<unknown[]> =>
  (await askAgent(statusSocket(socket), "/pods")) as unknown[];
