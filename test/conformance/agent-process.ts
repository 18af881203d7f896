// A real agent in a process of its own: it can be killed, and can be told to kill itself before or after the n-th kernel call from now.

import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { agentConfigSchema } from "../../src/agent/config.ts";
import { serve } from "../../src/agent/serve.ts";
import { present } from "../../src/base/assert.ts";
import { parseConfig } from "../../src/base/config.ts";
import { createLog } from "../../src/base/log.ts";
import { loadAddon } from "../../src/kernel/addon.ts";
import { openKernel } from "../../src/kernel/kernel.ts";
import { addUplink, shimPath } from "../agent.ts";
import { failingKernel } from "../failing-kernel.ts";
import { makeNetns, type TestNetns } from "../netns.ts";
import { type CallChange, createCaller, type Pod, type Scope } from "./node.ts";
import { type Outcome, runPlugin } from "./runtime.ts";

const program = fileURLToPath(import.meta.url);
/** What the program prints once pods can be attached, and once it has taken a plan. */
const lines = { ready: "serving", armed: "armed" };

export interface KillPlan {
  /** Which kernel call from now, counted from 1. */
  at: number;
  when: "before" | "after";
}

export interface ProcessNode {
  ns: TestNetns;
  directory: string;
  socket: string;
  plugin: string;
  /** Starts the agent under a mask for file modes, and gives its pid once it serves. */
  start(umask?: string): Promise<number>;
  /** From here on the agent counts its kernel calls, and ends itself where the plan says so. */
  arm(plan: KillPlan): Promise<void>;
  alive(): boolean;
  /** SIGKILL; settles when the process is gone. Nothing to do where it is. */
  kill(): Promise<void>;
  call(verb: string, pod?: Pod, change?: CallChange): Promise<Outcome>;
}

/** A node for agents in processes of their own; the last one is ended when the scope ends. */
export function makeProcessNode(
  t: Scope,
  blocks: readonly string[] = ["10.4.1.0/24", "fd00:10:4:1::/64"],
): ProcessNode {
  const ns = makeNetns(t);
  addUplink(ns);
  const directory = mkdtempSync(join(tmpdir(), "fairlead-agent-"));
  const paths = {
    socket: join(directory, "run", "cni.sock"),
    state: join(directory, "state"),
    cniConf: join(directory, "conf"),
    cniBin: join(directory, "bin"),
    etc: join(directory, "etc"),
  };
  const file = join(directory, "agent.yaml");
  writeFileSync(
    file,
    JSON.stringify({ node: { name: "node-1" }, paths, addresses: { mode: "routes", blocks }, log: { level: "trace" } }),
  );
  let running: Running | undefined;
  const kill = async (): Promise<void> => {
    running?.child.kill("SIGKILL");
    await running?.ended;
    running = undefined;
  };
  t.after(async () => {
    await kill();
    rmSync(directory, { recursive: true, force: true });
  });
  const caller = createCaller({ cniBin: paths.cniBin, socket: paths.socket });
  const plugin = join(paths.cniBin, "fairlead-cni");
  return {
    ns,
    directory,
    socket: paths.socket,
    plugin,
    start: async (umask = "022") => {
      assert.ok(running?.alive() !== true, "one agent at a time");
      running = startProgram(file, ns, umask);
      await running.line(lines.ready);
      return present(running.child.pid, "pid");
    },
    arm: async ({ at, when }) => {
      const { child, line } = present(running, "running agent");
      child.stdin.write(`${at} ${when}\n`);
      await line(lines.armed);
    },
    alive: () => running?.alive() === true,
    kill,
    call: (verb, pod, { env, conf, stdin, program = plugin, ...how } = {}) =>
      runPlugin(program, {
        env: caller.env(verb, pod, env),
        stdin: stdin ?? JSON.stringify(caller.conf(conf)),
        ...how,
      }),
  };
}

interface Running {
  child: ChildProcessWithoutNullStreams;
  ended: Promise<unknown>;
  alive: () => boolean;
  /** Settles when the program has printed that line since the last call; rejects where it ends before. */
  line: (text: string) => Promise<void>;
}

function startProgram(file: string, ns: TestNetns, umask: string): Running {
  const child = spawn("/bin/sh", ["-c", `umask ${umask}; exec "$0" "$@"`, process.execPath, program, file, ns.path]);
  const ended = once(child, "close");
  child.stdin.on("error", () => {}); // it may die before it has read
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-2000)));
  const printed = createInterface(child.stdout)[Symbol.asyncIterator]();
  return {
    child,
    ended,
    alive: () => child.exitCode === null && child.signalCode === null,
    line: async (text) => {
      const { value, done } = await printed.next();
      assert.ok(done !== true && value === text, `${text}, not ${String(value)}; its log ends: ${stderr}`);
    },
  };
}

/** The program: takes the configuration file and the node's namespace. */
async function run([file, nodeNetns]: readonly (string | undefined)[]): Promise<void> {
  const log = createLog("fairlead-agent", { level: "trace" });
  const config = parseConfig(agentConfigSchema, readFileSync(present(file, "file"), "utf8"), "test configuration");
  const kernel = openKernel({ nodeNetns: present(nodeNetns, "namespace"), log });
  const { kernel: dying, plan } = failingKernel(kernel, () => process.kill(process.pid, "SIGKILL"));
  const stop = new AbortController();
  process.once("SIGTERM", () => stop.abort("SIGTERM"));
  const tell = (line: string): boolean => process.stdout.write(`${line}\n`);
  createInterface(process.stdin).on("line", (line) => {
    const [at, when] = line.split(" ");
    Object.assign(plan, { at: Number(at), when, seen: 0 });
    tell(lines.armed);
  });
  await serve({
    config,
    kernel: dying,
    log,
    version: "test",
    shim: shimPath,
    door: loadAddon(),
    signal: stop.signal,
    onServing: () => tell(lines.ready),
  });
  kernel.close();
}

if (import.meta.main) await run(process.argv.slice(2));
