// A node of a test cluster: a machine with its own file system in which containerd, kubelet and kube-proxy run, the real ones.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { present, unreachable } from "../../src/base/assert.ts";
import { Fault } from "../../src/base/fault.ts";
import { cgroupProcesses, makeCgroup } from "../../lab/cgroups.ts";
import { type Daemon, lastLines, startDaemon } from "../../lab/daemon.ts";
import { exec, execOk, inNetns, type Outcome } from "../../lab/exec.ts";
import { nodeNetns, type NodeLayout } from "../../lab/layout.ts";
import { parseProcessId, type ProcessId } from "../../lab/process.ts";
import type { Lab } from "../../lab/record.ts";
import { recordOf } from "../../lab/status.ts";
import { all, until } from "../../lab/waiting.ts";
import type { Authority } from "../../lab/certificates.ts";
import {
  closedRegistry,
  containerdConfig,
  kubeletConfig,
  nodePaths,
  type ProxyMode,
  proxyConfig,
} from "./node-config.ts";
import { type ClusterPlan, perFamily } from "./plan.ts";
import { upstreamPath } from "./upstream.ts";

const machineScript = fileURLToPath(new URL("machine.sh", import.meta.url));

const machineWithinMs = 60_000;
/** From the start of containerd until it answers: under a second. */
const runtimeWithinMs = 60_000;
/** An import unpacks some hundred MB at most. */
const importWithinMs = 120_000;

/** What Kubernetes gives a kubelet by default. */
const podsMaxDefault = 110;

export type Program = "containerd" | "kubelet" | "kube-proxy";

export interface ClusterNode {
  readonly layout: NodeLayout;
  readonly name: string;
  /** Runs a program in the node's namespaces, as a person logged in there would; gives its stdout. @throws Fault "lab-failed" */
  run(program: string, args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<string>;
  /** The same; gives how it ended. */
  tryRun(program: string, args: readonly string[], options?: { timeoutMs?: number }): Promise<Outcome>;
  /** Writes a file in the node. */
  write(path: string, text: string): Promise<void>;
  /** Copies a program of this computer into the node's folder of network plugins. */
  installPlugin(file: string): Promise<void>;
  /** Loads an image file into the runtime, which runs. */
  importImage(file: string): Promise<void>;
  start(program: Program): Promise<void>;
  /** SIGKILL. */
  kill(program: Program): Promise<void>;
  /** The file that holds what the program has said. */
  log(program: Program): string;
  /** This computer's own name of a path in the node: for sockets and files that are used from here. */
  hostPath(path: string): string;
  /** Processes of the node's pods whose command line has these words, in their order. */
  podProcesses(...words: string[]): ProcessId[];
}

export interface NodeOptions {
  plan: ClusterPlan;
  layout: NodeLayout;
  authority: Authority;
  server: string;
  proxyMode: ProxyMode;
  /** Name of the sandbox image. */
  pauseImage: string;
  podsMax?: number;
}

/** Makes a node in a machine that is there already; on return containerd answers, kubelet and kube-proxy are not started yet. */
export async function makeNode(lab: Lab, options: NodeOptions): Promise<ClusterNode> {
  const { layout } = options;
  const { name, directory, netns } = layout;
  mkdirSync(`${directory}/log`, { recursive: true, mode: 0o755 });
  const cgroup = netns;
  makeCgroup(lab, cgroup);
  const [holder] = await all([startHolder(lab, layout), writeConfigs(options, cgroup)]);
  const running = new Map<Program, Daemon>();
  const log = (program: Program): string => `${directory}/log/${program}.log`;

  const inside = (program: string, args: readonly string[]): [string, string[]] =>
    inHolder(holder.id.pid, program, args);

  async function start(program: Program): Promise<void> {
    if (running.get(program)?.alive() === true) throw new Fault("lab-failed", `${program} of ${name} runs already`);
    const [file, args] = inside(`${upstreamPath}/${program}`, programArguments(program, options));
    const env = { PATH: `${upstreamPath}:${present(lab.env["PATH"], "PATH")}` };
    running.set(
      program,
      await startDaemon(lab, { name: `${program} ${name}`, netns, program: file, args, env, logFile: log(program) }),
    );
    if (program === "containerd") await untilAnswering();
  }

  async function untilAnswering(): Promise<void> {
    const answers = async (): Promise<string | undefined> => {
      if (running.get("containerd")?.alive() !== true) {
        throw new Fault("lab-failed", `containerd of ${name} ended:\n${lastLines(log("containerd"), 5)}`);
      }
      const outcome = await tryRun(`${upstreamPath}/ctr`, ["--connect-timeout=1s", "version"]);
      return outcome.code === 0 ? undefined : outcome.stderr;
    };
    await until(answers, { what: `containerd of ${name}`, withinMs: runtimeWithinMs, everyMs: 50 });
  }

  const tryRun: ClusterNode["tryRun"] = (program, args, extra = {}) =>
    exec(...inside(program, args), { env: lab.env, netns, ...extra });
  const run: ClusterNode["run"] = (program, args, extra = {}) =>
    execOk(...inside(program, args), { env: lab.env, netns, ...extra });

  const node: ClusterNode = {
    layout,
    name,
    run,
    tryRun,
    write: async (path, text) => {
      await run("dd", [`of=${path}`, "status=none"], { input: text });
    },
    installPlugin: async (file) => {
      await run("cp", [file, `${nodePaths.cniBin}/`]);
    },
    importImage: async (file) => {
      const args = ["--namespace=k8s.io", "images", "import", "--local", file];
      await run(`${upstreamPath}/ctr`, args, { timeoutMs: importWithinMs });
    },
    start,
    kill: async (program) => {
      await running.get(program)?.end(0);
    },
    log,
    hostPath: (path) => `/proc/${holder.id.pid}/root${path}`,
    podProcesses: (...words) => cgroupProcesses(cgroup).filter(({ pid }) => commandLine(pid).includes(words.join(" "))),
  };
  await start("containerd");
  return node;
}

/** Its words with spaces between them; "" where it has just ended. */
function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** `nsenter` becomes the program: pid and descriptors stay. */
function inHolder(pid: number, program: string, args: readonly string[]): [string, string[]] {
  const spaces = `/proc/${pid}/ns`;
  return ["nsenter", [`--mount=${spaces}/mnt`, `--uts=${spaces}/uts`, "--wd=/", "--", program, ...args]];
}

/**
 * The command line that runs a program on a machine of a lab that some process made: on a node as `node.run` does, elsewhere in the network alone.
 * @throws Fault "lab-failed" where there is no such machine
 */
export function inMachine(lab: string, machine: string, program: string, args: readonly string[]): [string, string[]] {
  const { things } = recordOf(lab);
  const netns = things.find(({ kind, name }) => kind === "netns" && name === nodeNetns(lab, machine))?.name;
  if (netns === undefined) throw new Fault("lab-failed", `lab ${lab} has no machine ${JSON.stringify(machine)}`);
  const held = things.find(({ kind, name }) => kind === "process" && name === `machine ${machine}`)?.identity;
  const holder = held === undefined ? undefined : parseProcessId(held);
  const inside = holder === undefined ? ([program, [...args]] as const) : inHolder(holder.pid, program, args);
  return inNetns(netns, ...inside);
}

/** The process that holds the node's namespaces. It starts in this computer's mount namespace: `ip netns exec` has hidden its cgroups. */
async function startHolder(lab: Lab, { name, directory, netns }: NodeLayout): Promise<Daemon> {
  const own = `--mount=/proc/${process.pid}/ns/mnt`;
  const holder = await startDaemon(lab, {
    name: `machine ${name}`,
    netns,
    program: "nsenter",
    args: [own, "--", "unshare", "--mount", "--uts", "--", machineScript, directory, name],
    logFile: `${directory}/log/machine.log`,
    tellsReady: true,
  });
  await holder.untilReady(machineWithinMs);
  return holder;
}

function programArguments(program: Program, { plan, layout }: NodeOptions): string[] {
  const { directory, name, addresses } = layout;
  switch (program) {
    case "containerd":
      return [`--config=${directory}/containerd.toml`];
    case "kubelet":
      return [
        `--config=${directory}/kubelet.yaml`,
        `--kubeconfig=${directory}/pki/${name}.kubeconfig`,
        `--hostname-override=${name}`,
        `--node-ip=${perFamily(plan.families, addresses)}`,
      ];
    case "kube-proxy":
      return [`--config=${directory}/kube-proxy.yaml`];
    default:
      return unreachable(program, "program");
  }
}

async function writeConfigs(options: NodeOptions, cgroup: string): Promise<void> {
  const { plan, layout, authority, server, proxyMode, pauseImage, podsMax = podsMaxDefault } = options;
  const { families } = plan;
  const { directory, name, addresses } = layout;
  const serves = [`DNS:${name}`, ...Object.values(addresses).map((address) => `IP:${address}`)];
  const identity = { user: `system:node:${name}`, group: "system:nodes", serves };
  const [kubelet, proxy] = await all([
    authority.kubeconfig(name, identity, server),
    authority.kubeconfig(`kube-proxy-${name}`, { user: "system:kube-proxy" }, server),
  ]);
  // A node sees its own directory and no other: keys are copied there.
  mkdirSync(`${directory}/pki`, { mode: 0o700 });
  const own = (file: string, target = file.slice(file.lastIndexOf("/") + 1)): string => {
    copyFileSync(file, `${directory}/pki/${target}`);
    return `${directory}/pki/${target}`;
  };
  own(kubelet);
  const keys = {
    certificate: own(`${authority.directory}/${name}.crt`),
    key: own(`${authority.directory}/${name}.key`),
  };
  const files = {
    "containerd.toml": containerdConfig(`${upstreamPath}/runc`, pauseImage),
    "kubelet.yaml": kubeletConfig({
      families,
      authority: own(authority.certificate),
      keys,
      cgroup: `/${cgroup}`,
      podsMax,
    }),
    "kube-proxy.yaml": proxyConfig({
      families,
      kubeconfig: own(proxy, "kube-proxy.kubeconfig"),
      node: name,
      mode: proxyMode,
    }),
  };
  for (const [file, text] of Object.entries(files)) writeFileSync(`${directory}/${file}`, text, { mode: 0o600 });
}

/** Closes the door to registries: what is not imported is not there. */
export async function closeRegistries(node: ClusterNode): Promise<void> {
  await node.run("mkdir", ["-p", `${nodePaths.registries}/_default`]);
  await node.write(`${nodePaths.registries}/_default/hosts.toml`, closedRegistry);
}
