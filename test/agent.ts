// A whole agent for tests: the real one, serving a namespace of the test, with the real shim in front of it.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type AgentConfig, agentConfigSchema } from "../src/agent/config.ts";
import { serve } from "../src/agent/serve.ts";
import { parseConfig } from "../src/base/config.ts";
import { silentLog } from "../src/base/log.ts";
import { loadAddon } from "../src/kernel/addon.ts";
import type { Kernel } from "../src/kernel/contract.ts";
import { openKernel } from "../src/kernel/kernel.ts";
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
  /** Stands between the agent and the kernel, for failures at will. */
  wrap?: (kernel: Kernel) => Kernel;
}

/** Starts an agent in a fresh node namespace with an uplink that has an address of each family; all of it goes when `t` ends. */
export async function startTestAgent(t: TestContext, options: TestAgentOptions = {}): Promise<TestAgent> {
  const { blocks = ["10.4.1.0/24", "fd00:10:4:1::/64"], mtu, wrap = (kernel) => kernel } = options;
  const node = makeNetns(t);
  addUplink(node);
  const directory = mkdtempSync(join(tmpdir(), "fairlead-agent-"));
  const config = parseConfig(
    agentConfigSchema,
    JSON.stringify({
      node: { name: "node-1" },
      paths: {
        socket: join(directory, "run", "cni.sock"),
        state: join(directory, "state"),
        cniConf: join(directory, "conf"),
        cniBin: join(directory, "bin"),
        etc: join(directory, "etc"),
      },
      addresses: { mode: "routes", blocks },
      ...(mtu === undefined ? {} : { mtu }),
    }),
    "test configuration",
  );
  let running: { stop: AbortController; done: Promise<void>; kernel: Kernel } | undefined;

  const start = async (): Promise<void> => {
    const stop = new AbortController();
    const real = openKernel({ nodeNetns: node.path, log: silentLog() });
    const kernel = wrap(real);
    const { promise: served, resolve: onServing } = Promise.withResolvers<void>();
    const done = serve({
      config,
      kernel,
      log: silentLog(),
      version: "test",
      shim: shimPath,
      door: loadAddon(),
      signal: stop.signal,
      onServing,
    }).finally(() => real.close());
    running = { stop, done, kernel };
    await Promise.race([served, done]);
  };

  const stop = async (): Promise<void> => {
    running?.stop.abort("test");
    await running?.done;
    running = undefined;
  };

  const cni = (verb: string, call: CallOptions = {}): Promise<CniCall> => runShim(config, verb, call);
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
    start,
    stop,
  };
}

function addUplink(node: TestNetns): void {
  node.run("ip", "link", "set", "lo", "up");
  node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire");
  node.run("ip", "link", "set", "wire", "up");
  node.run("ip", "link", "set", "eth0", "up");
  node.run("ip", "address", "add", "172.30.0.11/24", "dev", "eth0");
  node.run("ip", "address", "add", "fd00:30::11/64", "dev", "eth0", "nodad");
}

function runShim({ paths }: AgentConfig, verb: string, call: CallOptions): Promise<CniCall> {
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
