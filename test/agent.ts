// A whole agent for tests: the real one, serving a namespace of the test, with the real shim in front of it.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AuditedNode } from "../lab/audit/node.ts";
import { type AgentConfig, agentConfigSchema } from "../src/agent/config.ts";
import { serve } from "../src/agent/serve.ts";
import { present } from "../src/base/assert.ts";
import { parseConfig } from "../src/base/config.ts";
import { type Log, silentLog } from "../src/base/log.ts";
import { loadAddon } from "../src/kernel/addon.ts";
import type { Kernel } from "../src/kernel/contract.ts";
import { openKernel } from "../src/kernel/kernel.ts";
import { parseIp } from "../src/net/ip.ts";
import { type Attached, type EndedCall, noteCall } from "./attached.ts";
import { auditAtEnd, type AuditScope, type EndAudit } from "./audit.ts";
import { makeNetns, type TestNetns } from "./netns.ts";
import { until } from "./until.ts";

export const shimPath = fileURLToPath(new URL("../build/fairlead-cni", import.meta.url));

/** Longest a plugin call may take in a test. */
const callWaitMs = 30_000;

export interface CniCall {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

export interface CallOptions {
  containerId?: string;
  ifname?: string;
  netns?: string;
  /** Keys of the network configuration beside name, type and version. */
  config?: Record<string, unknown>;
  version?: string;
  env?: Record<string, string>;
}

export interface TestAgent {
  node: TestNetns;
  config: AgentConfig;
  /** Runs the installed plugin as a runtime does. */
  cni(verb: string, options?: CallOptions): Promise<CniCall>;
  /** ADD that must succeed; gives its result. */
  add(options: CallOptions): Promise<CniResult>;
  /** The kernel that the agent uses, for a look at it. */
  kernel: () => Kernel;
  /** What `cni` and `add` have attached; a test that attaches or releases in another way changes it. */
  attached: Attached;
  /** What the node holds is held against `attached` when the test ends. */
  audit: EndAudit;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface CniResult {
  cniVersion: string;
  interfaces: { name: string; mac: string; mtu?: number; sandbox: string }[];
  ips: { address: string; gateway: string; interface: number }[];
  routes: { dst: string; gw: string }[];
  dns?: { nameservers?: string[] };
}

export interface TestAgentOptions {
  blocks?: readonly string[];
  mtu?: number;
  /** Routes to other nodes' blocks. */
  routes?: readonly { to: string; via: string }[];
  /** More keys of the agent's configuration. */
  settings?: Record<string, unknown>;
  /** Last part of the node's own addresses, where it is not 11. */
  host?: number;
  /** False where the test calls the plugin by itself, and judges the node by its own eyes. */
  audited?: boolean;
  /** Where the agent writes what it does; nowhere if absent. */
  log?: Log;
  /** What the node must hold for masquerade; nothing if absent. */
  masquerade?: () => AuditedNode["masquerade"];
  /** Stands between the agent and the kernel, for failures at will. */
  wrap?: (kernel: Kernel) => Kernel;
}

/**
 * Starts an agent in a fresh node namespace with an uplink that has an address of each family; all of it goes when `t` ends,
 * after an audit has found that the node holds exactly what is attached. Make pods after the agent: they must outlive that.
 */
export async function startTestAgent(t: AuditScope, options: TestAgentOptions = {}): Promise<TestAgent> {
  const { blocks = ["10.4.1.0/24", "fd00:10:4:1::/64"], mtu, routes = [], settings = {} } = options;
  const { wrap = (kernel) => kernel, audited: isAudited = true, log = silentLog() } = options;
  const { masquerade: masqueraded = () => undefined } = options;
  const attached: Attached = new Map();
  const audit = auditAtEnd(t, () => (isAudited ? audited() : undefined));
  const node = makeNetns(t);
  addUplink(node, options.host);
  const directory = mkdtempSync(join(tmpdir(), "fairlead-agent-"));
  const config = parseConfig(
    agentConfigSchema,
    testConfig(directory, { blocks, routes, ...(mtu === undefined ? {} : { mtu }), settings }),
    "test configuration",
  );
  let wasUp = false;
  let running: { stop: AbortController; done: Promise<void>; kernel: Kernel } | undefined;

  const start = async (): Promise<void> => {
    const stop = new AbortController();
    const real = openKernel({ nodeNetns: node.path, log });
    const kernel = wrap(real);
    const { promise: served, resolve: onServing } = Promise.withResolvers<void>();
    const done = serve({
      config,
      kernel,
      log,
      version: "test",
      shim: shimPath,
      door: loadAddon(),
      signal: stop.signal,
      onServing,
    }).finally(() => real.close());
    running = { stop, done, kernel };
    try {
      await Promise.race([served, done]);
    } catch (error) {
      running = undefined;
      throw error;
    }
    wasUp = true;
  };

  const stop = async (): Promise<void> => {
    running?.stop.abort("test");
    await running?.done;
    running = undefined;
  };

  const cni = async (verb: string, call: CallOptions = {}): Promise<CniCall> => {
    const ended = await runShim(config, verb, call);
    noteCall(attached, { ...idOf(call), ...ended, verb });
    return ended;
  };

  const audited = (): AuditedNode | undefined => {
    if (!wasUp) return undefined;
    const masquerade = masqueraded();
    return {
      netnsPath: node.path,
      paths: config.paths,
      blocks: config.addresses.blocks,
      routes: config.routes,
      uplink,
      agent: running === undefined ? "stopped" : "runs",
      known: [...attached.values()],
      ...(masquerade === undefined ? {} : { masquerade }),
    };
  };
  await start();
  t.after(async () => {
    await stop();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    node,
    config,
    cni,
    add: async (call) => {
      const { exitCode, stdout, stderr } = await cni("ADD", call);
      if (exitCode !== 0) throw new Error(`ADD failed: ${stdout}${stderr}`);
      return JSON.parse(stdout) as CniResult;
    },
    kernel: () => {
      if (running === undefined) throw new Error("the agent is stopped");
      return running.kernel;
    },
    attached,
    audit,
    start,
    stop,
  };
}

/** The configuration of an agent whose files all lie in `directory`, as text; `settings` are further keys. */
export function testConfig(
  directory: string,
  {
    blocks,
    routes = [],
    mtu,
    settings = {},
  }: Pick<TestAgentOptions, "routes" | "mtu" | "settings"> & { blocks: readonly string[] },
): string {
  return JSON.stringify({
    node: { name: "node-1" },
    paths: {
      socket: join(directory, "run", "cni.sock"),
      state: join(directory, "state"),
      cniConf: join(directory, "conf"),
      cniBin: join(directory, "bin"),
      etc: join(directory, "etc"),
    },
    addresses: { mode: "routes", blocks },
    routes,
    ...(mtu === undefined ? {} : { mtu }),
    ...settings,
  });
}

/** Where a test's node has its own addresses. */
export const uplink = {
  name: "eth0",
  addresses: { 4: present(parseIp("172.30.0.11"), "address"), 6: present(parseIp("fd00:30::11"), "address") },
};

/** Gives a node namespace its uplink: the link, an address of each family, and loopback. */
export function addUplink(node: TestNetns, host = 11): void {
  node.run("ip", "link", "set", "lo", "up");
  node.run("ip", "link", "add", uplink.name, "type", "veth", "peer", "name", "wire");
  node.run("ip", "link", "set", "wire", "up");
  node.run("ip", "link", "set", uplink.name, "up");
  node.run("ip", "address", "add", `172.30.0.${host}/24`, "dev", uplink.name);
  node.run("ip", "address", "add", `fd00:30::${host}/64`, "dev", uplink.name, "nodad");
}

/** Names the attachment of a call, and for GC all that are to stay. */
export function idOf({
  containerId = "c1",
  ifname = "eth0",
  config = {},
}: CallOptions): Omit<EndedCall, keyof CniCall | "verb"> {
  const { name, "cni.dev/valid-attachments": valid } = config as ConfigKeys;
  return {
    network: name ?? "fairlead",
    containerId,
    ifname,
    ...(valid === undefined ? {} : { validAttachments: valid }),
  };
}

interface ConfigKeys {
  name?: string;
  "cni.dev/valid-attachments"?: { containerID: string; ifname: string }[];
}

/** Runs the installed plugin as a runtime does; `begun` gets its process. */
export function runShim(
  { paths }: Pick<AgentConfig, "paths">,
  verb: string,
  call: CallOptions,
  begun: (shim: ChildProcess) => void = () => {},
): Promise<CniCall> {
  const { containerId = "c1", ifname = "eth0", netns = "", config = {}, version = "1.1.0", env = {} } = call;
  const child = spawn(join(paths.cniBin, "fairlead-cni"), {
    env: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: containerId,
      CNI_IFNAME: ifname,
      ...(netns === "" ? {} : { CNI_NETNS: netns }),
      CNI_PATH: paths.cniBin,
      FAIRLEAD_SOCKET: paths.socket,
      FAIRLEAD_CONNECT_MS: "300",
      ...env,
    },
    timeout: callWaitMs,
    stdio: ["pipe", "pipe", "pipe"],
  });
  begun(child);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.on("error", () => {}); // a plugin may answer without reading its input
  child.stdin.end(JSON.stringify({ cniVersion: version, name: "fairlead", type: "fairlead-cni", ...config }));
  return new Promise((done, failed) => {
    child.once("error", failed);
    child.once("close", (exitCode) => done({ exitCode, stdout, stderr }));
  });
}

/** Waits until the reaper has removed every doomed link. */
export async function reaped(agent: TestAgent): Promise<void> {
  await until(
    "doomed links are gone",
    async () => !(await agent.kernel().node.links()).some(({ group }) => group === 99 || group === 98),
  );
}
