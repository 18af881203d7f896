// A node under test and its pods: the calls that a runtime makes there, with every variable and key open to change.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, type TestContext } from "node:test";
import { statusSocket } from "../../src/agent/status.ts";
import { askAgent } from "../../src/cli/agent-client.ts";
import { startTestAgent, type TestAgent, type TestAgentOptions } from "../agent.ts";
import { type EndedCall, noteCall } from "../attached.ts";
import { livingName } from "../../lab/audit/living.ts";
import { present } from "../../src/base/assert.ts";
import { describe } from "../../src/base/fault.ts";
import { makeNetns, type TestNetns } from "../netns.ts";
import { type Outcome, type RawCall, type Result, resultOf, runPlugin } from "./runtime.ts";

/** What lives as long as a test, or as its whole file. */
export type Scope = Pick<TestContext, "after">;

const ends: (() => void | Promise<void>)[] = [];
after(async () => {
  const failures: unknown[] = [];
  for (const end of ends) await Promise.resolve(end()).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw new AggregateError(failures, failures.map(describe).join("\n"));
});

/** Things in it are removed when the last test of the file has ended, also those that one test has made. */
export const fileScope: Scope = { after: (work) => void ends.push(work as () => void) };

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
  const audited = { after: t.after.bind(t), passed: true, diagnostic: () => {} };
  const agent = await startTestAgent(audited, options);
  const { cniBin, socket } = agent.config.paths;
  return nodeOf({ ns: agent.node, cniBin, socket, agent, scope: t });
}

interface NodeParts {
  ns: TestNetns;
  cniBin: string;
  socket: string;
  agent: TestAgent;
  /** The node's own. */
  scope: Scope;
}

function nodeOf({ ns, cniBin, socket, agent, scope }: NodeParts): TestNode {
  const plugin = join(cniBin, "fairlead-cni");
  const callerOf = createCaller({ cniBin, socket });
  /** How each living attachment was made: what its test leaves is released so. */
  const made = new Map<string, RawCall>();
  const run = async (program: string, raw: RawCall): Promise<Outcome> => {
    const outcome = await runPlugin(program, raw);
    const ended = endedCall(raw, outcome);
    if (ended === undefined) return outcome;
    noteCall(agent.attached, ended);
    if (ended.verb === "ADD" && ended.exitCode === 0) made.set(livingName(ended), raw);
    return outcome;
  };
  const call: TestNode["call"] = (verb, pod, { env, conf, stdin, program = plugin, ...how } = {}) =>
    run(program, {
      env: callerOf.env(verb, pod, env),
      stdin: stdin ?? JSON.stringify(callerOf.conf(conf)),
      ...how,
    });
  /** Releases what is left of a pod, as long as its namespace is there. */
  const release = async ({ id }: Pod): Promise<void> => {
    for (const name of [...agent.attached.keys()].filter((one) => one.split("/")[1] === id)) {
      const { env, stdin } = present(made.get(name), name);
      const { exitCode, stdout } = await run(plugin, {
        env: { ...env, CNI_COMMAND: "DEL" },
        ...(stdin === undefined ? {} : { stdin }),
      });
      assert.equal(exitCode, 0, stdout);
    }
  };
  return {
    agent,
    ns,
    plugin,
    pod: (t) => {
      let pod: Pod | undefined;
      // With a node of its own the pod is as it is when that is audited.
      if (t !== scope) t.after(() => (pod === undefined ? undefined : release(pod)));
      pod = makePod(t);
      return pod;
    },
    ...callerOf,
    call,
    add: async (pod, change) => resultOf(await call("ADD", pod, change)),
    each: (verb, pods, change) => Promise.all(pods.map((pod) => call(verb, pod, change))),
  };
}

/** The call as a runtime keeps it; undefined where it failed, or names no network. */
function endedCall({ env, stdin }: RawCall, { exitCode, stdout }: Outcome): EndedCall | undefined {
  const conf = confIn(stdin);
  if (exitCode !== 0 || conf?.name === undefined) return undefined;
  const valid = conf["cni.dev/valid-attachments"] ?? conf["cni.dev/attachments"];
  return {
    verb: env["CNI_COMMAND"] ?? "",
    network: conf.name,
    containerId: env["CNI_CONTAINERID"] ?? "",
    ifname: env["CNI_IFNAME"] ?? "",
    ...(valid === undefined || valid === null ? {} : { validAttachments: valid }),
    exitCode,
    stdout,
  };
}

type ValidList = { containerID: string; ifname: string }[] | null;

interface ConfKeys {
  name?: string;
  "cni.dev/valid-attachments"?: ValidList;
  /** Its name in older libraries. */
  "cni.dev/attachments"?: ValidList;
}

/** A kept DEL is a success whatever its configuration is: it may even be no JSON. */
function confIn(stdin: RawCall["stdin"] = ""): ConfKeys | undefined {
  try {
    return (JSON.parse(Buffer.from(stdin).toString()) as ConfKeys | null) ?? undefined;
  } catch {
    return undefined;
  }
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
