// A container runtime's side of CNI, as containerd plays it: reads the first configuration list, executes its plugins, caches results. Shares no code with the plugin.

import { randomBytes, randomUUID } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { z } from "zod";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { type CniResult, failedCall, readResult } from "./cni-result.ts";
import { exec } from "./exec.ts";
import { readJson } from "./json.ts";
import { type NodeLayout, podNetns } from "./layout.ts";
import { makeNetns, netnsIdentity, netnsPath, removeNetns } from "./netns.ts";
import { namespaceDefault } from "./pod-object.ts";
import type { Lab } from "./record.ts";

const pluginsMax = 16;

/** Versions of the protocol, oldest first, that this runtime speaks. A list that names others alone is taken at its word. */
const spokenVersions = ["0.4.0", "1.0.0", "1.1.0"];

/** What a runtime takes of several versions: the newest that it knows (CNI specification 1.1, section 1). */
function newestOf(versions: readonly string[]): string {
  return spokenVersions.findLast((known) => versions.includes(known)) ?? versions[0] ?? "";
}

/** The keys of a configuration list that a runtime looks at (CNI specification 1.1, section 1); the plugins' own keys pass through. */
const listSchema = z
  .object({
    name: z.string().min(1),
    cniVersion: z.string(),
    cniVersions: z.array(z.string()).default([]),
    disableCheck: z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")]).default(false),
    plugins: z
      .array(z.looseObject({ type: z.string().regex(/^[^/]+$/) }))
      .min(1)
      .max(pluginsMax),
  })
  .transform(({ cniVersions, ...list }) => ({ ...list, cniVersion: newestOf([list.cniVersion, ...cniVersions]) }));
type ConfigList = z.output<typeof listSchema>;
type PluginConfig = ConfigList["plugins"][number];

/** One pod's attachment as the runtime knows it. */
export interface Sandbox {
  pod: string;
  /** The pod's namespace in Kubernetes. */
  namespace: string;
  uid: string;
  /** 64 hexadecimal digits; another one whenever the pod's sandbox is made anew. */
  containerId: string;
  netns: string;
  /** The configuration list as it was at ADD: later verbs go to the same plugins. */
  list: ConfigList;
  /** Final result of ADD; absent while ADD has not succeeded. */
  result?: CniResult;
}

/** A sandbox on disk. The runtime keeps nothing in memory: every call is as good as one after a restart of the runtime. */
const cacheSchema = z.object({
  pod: z.string(),
  namespace: z.string(),
  uid: z.string(),
  containerId: z.string(),
  netns: z.string(),
  list: listSchema,
  resultText: z.string().optional(),
});

const callSchema = z.object({
  verb: z.enum(["ADD", "DEL", "CHECK", "STATUS"]),
  /** "" for STATUS. */
  pod: z.string(),
  plugin: z.string(),
  /** Wall time of the execution, entering the machine's namespace included (about 3 ms). */
  ms: z.number(),
  ok: z.boolean(),
});
/** One execution of a plugin, as the log of calls keeps it. */
export type Call = z.output<typeof callSchema>;

type Verb = Call["verb"];

/** A plugin that runs longer is killed; kubelet gives a whole sandbox 4 minutes. */
const pluginTimeoutMs = 30_000;

/** Whose sandbox it is: a new pod of the default namespace if nothing is said. */
export interface PodIdentity {
  /** Kept when a pod's sandbox is made anew. */
  uid?: string;
  namespace?: string;
  /** Called once the pod's namespace is there, before any plugin is: for whoever counts packets from the first one on. */
  prepare?: (netns: string) => Promise<void>;
}

/** The runtime of one node. */
export interface Runtime {
  /** Makes the pod's namespace and attaches it. On failure nothing of the pod stays. */
  add(pod: string, identity?: PodIdentity): Promise<Sandbox>;
  /** Detaches the pod and removes its namespace. */
  del(pod: string): Promise<void>;
  /** Only calls DEL for a sandbox, of which nothing may be left: what kubelet does when it is not sure. */
  delAgain(sandbox: Sandbox): Promise<void>;
  /** @throws Fault "lab-failed" with the plugin's message where it finds the attachment wrong. */
  check(pod: string): Promise<void>;
  /** Asks the plugin whether it can serve; gives its message where not. */
  status(): Promise<string | undefined>;
  sandbox(pod: string): Sandbox;
  /** Every execution of a plugin so far. */
  calls(): Call[];
}

/** The runtime of `node`: its configuration in `net.d`, plugins in `bin`, its own files in `runtime`, all below the node's directory. */
export function createRuntime(lab: Lab, node: NodeLayout): Runtime {
  const directory = `${node.directory}/runtime`;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const cachePath = (pod: string): string => `${directory}/${pod}.json`;
  const callLog = `${directory}/calls.jsonl`;

  async function call(
    verb: Verb,
    plugin: PluginConfig,
    list: ConfigList,
    sandbox?: Sandbox,
    prevResult?: CniResult,
  ): Promise<string> {
    const binary = `${node.directory}/bin/${plugin.type}`;
    if (!existsSync(binary)) throw new Fault("lab-failed", `plugin ${plugin.type} is not in ${node.directory}/bin`);
    const startedMs = performance.now();
    const outcome = await exec(binary, [], {
      netns: node.netns,
      env: { ...lab.env, ...cniEnvironment(verb, node, sandbox) },
      input: JSON.stringify({
        ...plugin,
        name: list.name,
        cniVersion: list.cniVersion,
        ...(prevResult === undefined ? {} : { prevResult: readJson(z.looseObject({}), prevResult.text, "prevResult") }),
      }),
      timeoutMs: pluginTimeoutMs,
    });
    const ok = outcome.code === 0;
    const line: Call = { verb, pod: sandbox?.pod ?? "", plugin: plugin.type, ms: performance.now() - startedMs, ok };
    appendFileSync(callLog, `${JSON.stringify(line)}\n`, { mode: 0o600 });
    if (!ok) throw failedCall(`${verb} of ${sandbox?.pod ?? node.name}`, outcome);
    if (verb !== "ADD" && outcome.stdout !== "") {
      throw new Fault("lab-failed", `${verb} succeeded but printed ${JSON.stringify(outcome.stdout.slice(0, 200))}`);
    }
    return outcome.stdout;
  }

  /** ADD of every plugin in order, each given the result of the one before. */
  async function attach(sandbox: Sandbox): Promise<CniResult> {
    let result: CniResult | undefined;
    for (const plugin of sandbox.list.plugins) {
      result = readResult(await call("ADD", plugin, sandbox.list, sandbox, result), requestOf(sandbox));
    }
    return present(result, "a plugin in the list");
  }

  /** DEL of every plugin in reverse order; one failure does not stop the rest, the first is thrown at the end. */
  async function detach(sandbox: Sandbox): Promise<void> {
    const failures: unknown[] = [];
    for (const plugin of sandbox.list.plugins.toReversed()) {
      await call("DEL", plugin, sandbox.list, sandbox, sandbox.result).catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  /** A runtime may be killed at any write: the cache is whole or absent. */
  function keep({ result, ...rest }: Sandbox): void {
    const content: z.input<typeof cacheSchema> = {
      ...rest,
      ...(result === undefined ? {} : { resultText: result.text }),
    };
    writeFileSync(`${cachePath(rest.pod)}.tmp`, JSON.stringify(content), { mode: 0o600 });
    renameSync(`${cachePath(rest.pod)}.tmp`, cachePath(rest.pod));
  }

  async function dropNetns(sandbox: Sandbox): Promise<void> {
    const thing = lab.things().find(({ kind, name }) => kind === "netns" && name === sandbox.netns);
    if (thing === undefined) return;
    await removeNetns(thing, lab.env);
    lab.gone(thing.id);
  }

  function sandboxOf(pod: string): Sandbox {
    if (!existsSync(cachePath(pod))) throw new Fault("lab-failed", `${node.name} runs no pod ${pod}`);
    return readSandbox(cachePath(pod));
  }

  return {
    sandbox: sandboxOf,
    add: async (pod, { uid = randomUUID(), namespace = namespaceDefault, prepare } = {}) => {
      const netns = podNetns(lab.name, pod);
      const containerId = randomBytes(32).toString("hex");
      const sandbox: Sandbox = { pod, namespace, uid, containerId, netns, list: firstList(node) };
      await makeNetns(lab, netns);
      await prepare?.(netns);
      keep(sandbox);
      try {
        sandbox.result = await attach(sandbox);
      } catch (error) {
        // A DEL that fails too changes nothing about why the pod did not start; its namespace goes in any case.
        await detach(sandbox).catch(() => {});
        await dropNetns(sandbox);
        rmSync(cachePath(pod));
        throw error;
      }
      keep(sandbox);
      return sandbox;
    },
    del: async (pod) => {
      const sandbox = sandboxOf(pod);
      await detach(sandbox);
      await dropNetns(sandbox);
      rmSync(cachePath(pod));
    },
    delAgain: detach,
    check: async (pod) => {
      const sandbox = sandboxOf(pod);
      if (sandbox.list.disableCheck) throw new Fault("lab-failed", `the list ${sandbox.list.name} has CHECK disabled`);
      for (const plugin of sandbox.list.plugins) await call("CHECK", plugin, sandbox.list, sandbox, sandbox.result);
    },
    status: async () => {
      try {
        const list = firstList(node);
        for (const plugin of list.plugins) await call("STATUS", plugin, list);
        return undefined;
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    },
    calls: () => {
      if (!existsSync(callLog)) return [];
      const lines = readFileSync(callLog, "utf8").trimEnd().split("\n");
      return lines.map((line) => readJson(callSchema, line, callLog));
    },
  };
}

/** Every sandbox that a runtime keeps below the directory of its node: also what another process attached. */
export function readSandboxes(nodeDirectory: string): Sandbox[] {
  const directory = `${nodeDirectory}/runtime`;
  const files = existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith(".json")) : [];
  return files.sort().map((name) => readSandbox(`${directory}/${name}`));
}

function readSandbox(path: string): Sandbox {
  const { resultText, ...sandbox } = readJson(cacheSchema, readFileSync(path, "utf8"), path);
  return resultText === undefined ? sandbox : { ...sandbox, result: readResult(resultText, requestOf(sandbox)) };
}

/** The variables of CNI specification 1.1, section 2, with the CNI_ARGS that containerd sends. STATUS has no container. */
function cniEnvironment(verb: Verb, node: NodeLayout, sandbox: Sandbox | undefined): Record<string, string> {
  const common = {
    CNI_COMMAND: verb,
    CNI_PATH: `${node.directory}/bin`,
    FAIRLEAD_SOCKET: `${node.directory}/cni.sock`,
  };
  if (sandbox === undefined) return common;
  // A namespace that is gone has no path to name: DEL must do without.
  const netns = netnsIdentity(sandbox.netns) === undefined ? "" : netnsPath(sandbox.netns);
  const args = {
    IgnoreUnknown: "1",
    K8S_POD_NAMESPACE: sandbox.namespace,
    K8S_POD_NAME: sandbox.pod,
    K8S_POD_INFRA_CONTAINER_ID: sandbox.containerId,
    K8S_POD_UID: sandbox.uid,
  };
  return {
    ...common,
    CNI_CONTAINERID: sandbox.containerId,
    CNI_NETNS: netns,
    CNI_IFNAME: "eth0",
    CNI_ARGS: Object.entries(args)
      .map(([key, value]) => `${key}=${value}`)
      .join(";"),
  };
}

/** The lexically first list of the directory, as containerd and CRI-O choose it. */
function firstList(node: NodeLayout): ConfigList {
  const directory = `${node.directory}/net.d`;
  const files = existsSync(directory) ? readdirSync(directory) : [];
  const [first] = files.filter((name) => /\.(conflist|conf|json)$/.test(name)).sort();
  if (first === undefined)
    throw new Fault("lab-failed", `${node.name} is not ready: no network configuration in ${directory}`);
  return readJson(listSchema, readFileSync(`${directory}/${first}`, "utf8"), `${directory}/${first}`);
}

function requestOf({ list, netns }: Pick<Sandbox, "list" | "netns">): { cniVersion: string; netns: string } {
  return { cniVersion: list.cniVersion, netns: netnsPath(netns) };
}
