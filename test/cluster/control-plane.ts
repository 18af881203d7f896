// The control plane of a test cluster in a namespace of its own: etcd, API server, controller manager and scheduler, the real ones.
//
// `startControlPlaneAlone` is for tests that need an API server and nothing else; it is there after about four seconds.

import { mkdirSync, readFileSync } from "node:fs";
import { request } from "node:https";
import { fileURLToPath } from "node:url";
import { Fault } from "../../src/base/fault.ts";
import { type Daemon, lastLines, startDaemon } from "../../lab/daemon.ts";
import { removeLab } from "../../lab/down.ts";
import { exec, execOk, failureText } from "../../lab/exec.ts";
import type { Family } from "../../lab/layout.ts";
import { makeMachines } from "../../lab/machines.ts";
import { createLab, type Lab } from "../../lab/record.ts";
import { all, until } from "../../lab/waiting.ts";
import { startWarden } from "../../lab/warden.ts";
import { type Authority, type KeyPair, makeAuthority, makeTokenKeys } from "../../lab/certificates.ts";
import { type Component, componentArguments, type ControlFiles } from "./control-flags.ts";
import { apiPort, apiServiceAddresses, type ClusterPlan, mainAddress, planKubernetes, urlHost } from "./plan.ts";
import { upstreamPath } from "./upstream.ts";

/** From its start until an API server says that it is ready: 4 s on two idle cores. */
const readyWithinMs = 60_000;
const askWithinMs = 2_000;
const kubectlWithinMs = 120_000;

export interface KubectlOptions {
  /** What it reads on stdin: manifests for `apply -f -`. */
  input?: string;
  timeoutMs?: number;
}

export interface ControlPlane {
  readonly plan: ClusterPlan;
  /** Where kubeconfig, certificates and logs lie. */
  readonly directory: string;
  /** "https://172.30.0.2:6443", which only the namespaces of the cluster reach. */
  readonly server: string;
  /** A unix socket that leads to the API server from any namespace; TLS goes through it, for the name "localhost" too. */
  readonly socket: string;
  /** A kubeconfig file of an administrator. */
  readonly kubeconfig: string;
  /** The administrator's certificate and the authority's, as PEM. */
  readonly credentials: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly authority: Authority;
  /** Runs kubectl as administrator and gives its stdout. @throws Fault "lab-failed" with what it said */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<string>;
  /** The same; gives what is wrong, or undefined where it succeeded. For conditions that are waited for. */
  tryKubectl(args: readonly string[], options?: KubectlOptions): Promise<string | undefined>;
  /** Starts a program that does not run. */
  start(component: Component): Promise<void>;
  /** SIGKILL. */
  kill(component: Component): Promise<void>;
  /** Settles when the API server says that it is ready. */
  untilReady(): Promise<void>;
  /** Ends all programs at once, the API server before etcd: without etcd it would wait for it. */
  end(): Promise<void>;
}

export interface ControlPlaneOptions {
  /** Which programs there are beside etcd and the API server. */
  controllers: boolean;
  /** Whether the controller manager gives each node its `spec.podCIDRs`. */
  allocateNodeCidrs: boolean;
}

/** Starts a control plane in the machine `plan.control`, which is there already; on return the API server is ready. */
export async function startControlPlane(
  lab: Lab,
  plan: ClusterPlan,
  { controllers, allocateNodeCidrs }: ControlPlaneOptions,
): Promise<ControlPlane> {
  const { control, families } = plan;
  const { directory, netns } = control;
  mkdirSync(`${directory}/log`, { recursive: true, mode: 0o700 });
  const host = mainAddress(control, families);
  const server = `https://${urlHost(host)}:${apiPort}`;
  const authority = await makeAuthority(lab, `${directory}/pki`);
  const { files, admin } = await makeFiles(authority, plan, server);
  const socket = `${directory}/api.sock`;
  const kubeconfig = `${authority.directory}/admin.kubeconfig`;
  const running = new Map<Component, Daemon>();

  async function start(component: Component): Promise<void> {
    if (running.get(component)?.alive() === true) throw new Fault("lab-failed", `${component} runs already`);
    const daemon = await startDaemon(lab, {
      name: component,
      netns,
      program: `${upstreamPath}/${component}`,
      args: componentArguments(component, { plan, files, directory, allocateNodeCidrs }),
      logFile: `${directory}/log/${component}.log`,
    });
    running.set(component, daemon);
  }

  function kubectlCommand(args: readonly string[]): [string, string[]] {
    return [`${upstreamPath}/kubectl`, [`--kubeconfig=${kubeconfig}`, `--cache-dir=${directory}/kubectl`, ...args]];
  }

  const credentials = {
    ca: readFileSync(authority.certificate, "utf8"),
    cert: readFileSync(admin.certificate, "utf8"),
    key: readFileSync(admin.key, "utf8"),
  };
  const plane: ControlPlane = {
    plan,
    directory,
    server,
    socket,
    kubeconfig,
    credentials,
    authority,
    kubectl: (args, { input = "", timeoutMs = kubectlWithinMs } = {}) =>
      execOk(...kubectlCommand(args), { env: lab.env, netns, input, timeoutMs }),
    tryKubectl: async (args, { input = "", timeoutMs = kubectlWithinMs } = {}) => {
      const outcome = await exec(...kubectlCommand(args), { env: lab.env, netns, input, timeoutMs });
      return outcome.code === 0 ? undefined : failureText(outcome);
    },
    start,
    kill: async (component) => {
      await running.get(component)?.end(0);
    },
    untilReady: () =>
      until(
        async () => {
          const api = running.get("kube-apiserver");
          if (api?.alive() === true) return askReady(plane);
          const log = `${directory}/log/kube-apiserver.log`;
          throw new Fault("lab-failed", `the API server ended (log: ${log}):\n${lastLines(log, 5)}`);
        },
        { what: "API server", withinMs: readyWithinMs, everyMs: 50 },
      ),
    end: async () => {
      for (const component of [...running.keys()].toReversed()) await running.get(component)?.end(0);
    },
  };

  const door = startDaemon(lab, {
    name: "door",
    netns,
    program: process.execPath,
    args: [fileURLToPath(new URL("../../lab/door.ts", import.meta.url)), socket, host, String(apiPort)],
    logFile: `${directory}/log/door.log`,
    tellsReady: true,
  });
  await all([start("etcd"), start("kube-apiserver"), door.then((started) => started.untilReady(readyWithinMs))]);
  await plane.untilReady();
  if (controllers) await all([start("kube-controller-manager"), start("kube-scheduler")]);
  return plane;
}

async function makeFiles(
  authority: Authority,
  { control, families }: ClusterPlan,
  server: string,
): Promise<{ files: ControlFiles; admin: KeyPair }> {
  const addresses = families.flatMap((family) => [control.addresses[family] ?? "", apiServiceAddresses[family]]);
  const names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
  const serves = [
    ...[...names, "kubernetes.default.svc.cluster.local"].map((name) => `DNS:${name}`),
    ...["127.0.0.1", "::1", ...addresses].map((address) => `IP:${address}`),
  ];
  const tokens = makeTokenKeys(authority.directory);
  const [apiServer, kubeletClient, frontProxy] = await all([
    authority.issue("apiserver", { user: "kube-apiserver", serves }),
    authority.issue("kubelet-client", { user: "kube-apiserver-kubelet-client", group: "system:masters" }),
    authority.issue("front-proxy", { user: "front-proxy-client" }),
    authority.kubeconfig("admin", { user: "admin", group: "system:masters" }, server),
    authority.kubeconfig("kube-controller-manager", { user: "system:kube-controller-manager" }, server),
    authority.kubeconfig("kube-scheduler", { user: "system:kube-scheduler" }, server),
  ]);
  const admin = { certificate: `${authority.directory}/admin.crt`, key: `${authority.directory}/admin.key` };
  return { files: { authority, apiServer, kubeletClient, frontProxy, tokens }, admin };
}

/** Gives what is wrong, or undefined where the API server is ready. */
function askReady({ socket, credentials }: ControlPlane): Promise<string | undefined> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(askWithinMs);
    const options = {
      socketPath: socket,
      servername: "localhost",
      path: "/readyz",
      agent: false,
      signal,
      ...credentials,
    };
    const asked = request(options, (response) => {
      response.resume();
      response.once("end", () => resolve(response.statusCode === 200 ? undefined : `/readyz: ${response.statusCode}`));
    });
    asked.once("error", (error) => resolve(error.message));
    asked.end();
  });
}

export interface AloneOptions {
  /** The lab's name: lower-case letters and digits. */
  name: string;
  families?: readonly Family[];
  /** With controller manager and scheduler; without, there are no default service accounts, and nothing collects what has lost its owner. */
  controllers?: boolean;
}

/** A control plane, and what removes it. */
export interface ControlPlaneAlone extends ControlPlane {
  close(): Promise<void>;
}

/** Makes a lab with a control plane and no node in it, removed by `close`, or by its warden where this process is killed. */
export async function startControlPlaneAlone(options: AloneOptions): Promise<ControlPlaneAlone> {
  const { name, families = [4, 6], controllers = false } = options;
  const plan = planKubernetes({ lab: name, nodes: 0, families });
  const lab = createLab({ name });
  const warden = startWarden(lab);
  const close = async (): Promise<void> => {
    await removeLab(name);
    lab.close();
    warden.dismiss();
  };
  try {
    await makeMachines(lab, plan.layout);
    const plane = await startControlPlane(lab, plan, { controllers, allocateNodeCidrs: false });
    return {
      ...plane,
      close: async () => {
        await plane.end();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
