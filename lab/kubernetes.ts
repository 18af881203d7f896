// Kubernetes around a lab's nodes: the small API server, Fairlead's controller, and what a kubelet tells of nodes and pods.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseAllDocuments, stringify } from "yaml";
import { z } from "zod";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { type Cidr, cidrContains, cidrBase, cidrFamily, parseCidr } from "../src/net/cidr.ts";
import { type Api, createApi } from "./api.ts";
import { makeAuthority } from "./certificates.ts";
import { type Daemon, startDaemon } from "./daemon.ts";
import { readJson } from "./json.ts";
import type { ClusterLayout, Family, NodeLayout } from "./layout.ts";
import { objectCalls, type ObjectCalls } from "./objects.ts";
import { podCalls, type PodCalls } from "./pod-calls.ts";
import type { Lab } from "./record.ts";
import { all, until } from "./waiting.ts";

/** Who cuts the blocks: Fairlead's controller, or the lab in the part of the cluster's own one. */
export type Assign = "fairlead" | "cluster";

/** Node blocks are cut from here. */
export const podRanges = { 4: "10.4.0.0/16", 6: "fd00:10:4::/48" } as const;

/** A group that may do everything. */
const administrators = "system:masters";
const apiPort = 6443;
const readyWithinMs = 60_000;
const placedWithinMs = 60_000;
const stopWithinMs = 10_000;

const crds = fileURLToPath(new URL("../deploy/crds.yaml", import.meta.url));
const serverProgram = fileURLToPath(new URL("kube/main.ts", import.meta.url));
const doorProgram = fileURLToPath(new URL("door.ts", import.meta.url));
const fairlead = fileURLToPath(new URL("../bin/fairlead", import.meta.url));

export interface Kubernetes extends PodCalls, ObjectCalls {
  /** Makes a Node of each machine; gives the layout with the blocks and ways that it has then, and each agent's kubeconfig. */
  register(): Promise<ClusterLayout>;
  /** A kubeconfig of an administrator, for programs in `netns`. */
  readonly admin: { kubeconfig: string; netns: string };
  controller: { start(): Promise<void>; stop(): Promise<void>; kill(): Promise<void>; pid(): number };
  /** One that hangs accepts connections and answers nobody until it is woken; one that is stopped has its objects when it starts again. */
  apiServer: { hang(): void; wake(): void; stop(): Promise<void>; start(): Promise<void> };
  /** An administrator's client for many calls at once. */
  connect(atOnce: number): Api;
  /** What each user has asked of the server since `resetUsage`. */
  usage(): Promise<Usage[]>;
  resetUsage(): Promise<void>;
}

const usageSchema = z.array(z.object({ user: z.string(), requests: z.number(), bytesOut: z.number() }));

/** Requests of one user, and the bytes that the server sent it. */
export type Usage = z.output<typeof usageSchema>[number];

/** Users of the lab's programs. */
export const controllerUser = "fairlead-controller";
export const agentUser = (node: string): string => `fairlead-agent:${node}`;

export interface KubernetesOptions {
  assign: Assign;
  /** The API server's objects outlive it, in a file that is written every second; true if absent. */
  keepsObjects?: boolean;
  /** Prefix length of a node's IPv4 block; 24 if absent, which makes 256 of them. */
  blockPrefix?: number;
  /** The `fairlead` whose controller runs; that of this project if absent. */
  program?: string | undefined;
}

/** Starts API server and controller in the machine `layout.control`, which is there already. */
export async function startKubernetes(
  lab: Lab,
  layout: ClusterLayout,
  { assign, keepsObjects = true, blockPrefix = 24, program = fairlead }: KubernetesOptions,
): Promise<Kubernetes> {
  const control = present(layout.control, "a machine for the control plane");
  const { directory, netns } = control;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const host = present(control.addresses[4] ?? control.addresses[6], "address of the control plane");
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${apiPort}`;
  const authority = await makeAuthority(lab, `${directory}/pki`);
  const [serving, admin] = await Promise.all([
    authority.issue("server", { user: "api", serves: ["DNS:localhost", `IP:${host}`] }),
    authority.issue("admin", { user: "admin", group: administrators }),
  ]);

  const settings = `${directory}/api.json`;
  const tls = { cert: serving.certificate, key: serving.key, clientCa: authority.certificate };
  const [file, orders] = [`${directory}/objects.jsonl`, `${directory}/orders.sock`];
  writeFileSync(
    settings,
    JSON.stringify({ host, port: apiPort, tls, ...(keepsObjects ? { file } : {}), control: orders }),
    { mode: 0o600 },
  );
  const socket = `${directory}/api.sock`;
  const startServer = (): Promise<Daemon> =>
    startNode(lab, { name: "api server", netns, directory, args: [serverProgram, settings] });
  let [apiDaemon] = await all([
    startServer(),
    startNode(lab, { name: "door", netns, directory, args: [doorProgram, socket, host, String(apiPort)] }),
  ]);
  const connect = (kept: number): Api =>
    createApi({ socket, serverName: "localhost", authority: authority.certificate, client: admin, kept });
  const api = connect(0);
  await applyCrds(api);
  await tellConfiguration(api);

  const controllerConfig = `${directory}/controller.yaml`;
  writeFileSync(
    controllerConfig,
    controllerText({
      kubeconfig: await authority.kubeconfig("controller", { user: controllerUser }, server),
      assign,
      families: layout.families,
      blockPrefix,
    }),
    { mode: 0o600 },
  );
  const controller = controllerProcess(lab, { netns, program, directory, config: controllerConfig });
  await controller.start();

  return {
    register: async () => {
      await all(layout.nodes.map((node) => api.must("POST", "/api/v1/nodes", nodeObject(node, assign))));
      const blocks = await blocksOf(api, layout);
      const kubeconfigs = await all(
        layout.nodes.map(({ name }) => authority.kubeconfig(name, { user: agentUser(name) }, server)),
      );
      return placed(layout, blocks, kubeconfigs);
    },
    admin: {
      kubeconfig: await authority.kubeconfig("people", { user: "people", group: administrators }, server),
      netns,
    },
    ...podCalls(api),
    ...objectCalls(api),
    connect,
    usage: async () => readJson(usageSchema, await order(orders, "usage"), "usage"),
    resetUsage: async () => void (await order(orders, "reset-usage")),
    controller,
    apiServer: {
      hang: () => void process.kill(apiDaemon.id.pid, "SIGSTOP"),
      wake: () => void process.kill(apiDaemon.id.pid, "SIGCONT"),
      stop: async () => void (await apiDaemon.end(stopWithinMs)),
      start: async () => {
        apiDaemon = await startServer();
      },
    },
  };
}

interface ControllerProcess {
  netns: string;
  program: string;
  directory: string;
  config: string;
}

function controllerProcess(
  lab: Lab,
  { netns, program, directory, config }: ControllerProcess,
): Kubernetes["controller"] {
  let daemon: Daemon | undefined;
  return {
    start: async () => {
      if (daemon?.alive() === true) throw new Fault("lab-failed", "the controller runs already");
      daemon = await startDaemon(lab, {
        name: "controller",
        netns,
        program,
        args: ["controller", "--config", config],
        logFile: `${directory}/controller.log`,
      });
    },
    stop: async () => {
      const how = await present(daemon, "controller").end(stopWithinMs);
      if (how !== 0) throw new Fault("lab-failed", `the controller did not stop in order but ended with ${how}`);
    },
    kill: async () => void (await present(daemon, "controller").end(0)),
    pid: () => present(daemon, "controller").id.pid,
  };
}

interface NodeProgram {
  name: string;
  netns: string;
  directory: string;
  args: readonly string[];
}

/** Starts a program of the lab itself, and waits until it says that it is ready. */
async function startNode(lab: Lab, { name, netns, directory, args }: NodeProgram): Promise<Daemon> {
  const logFile = `${directory}/${name.replaceAll(" ", "-")}.log`;
  const daemon = await startDaemon(lab, {
    name,
    netns,
    program: process.execPath,
    args: ["--disable-warning=ExperimentalWarning", ...args],
    logFile,
    tellsReady: true,
  });
  await daemon.untilReady(readyWithinMs);
  return daemon;
}

async function applyCrds(api: Api): Promise<void> {
  for (const document of parseAllDocuments(readFileSync(crds, "utf8"))) {
    const object = z.looseObject({}).safeParse(document.toJS());
    if (!object.success) continue;
    await api.must("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", object.data);
  }
}

/** What of deploy/fairlead.yaml people's programs read: the agents' keys of policy, of which the lab's agents have none. */
async function tellConfiguration(api: Api): Promise<void> {
  const namespace = "fairlead-system";
  await api.must("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  await api.must("POST", `/api/v1/namespaces/${namespace}/configmaps`, {
    metadata: { name: "fairlead-config" },
    data: { "agent.yaml": "policy: {}\n" },
  });
}

interface ControllerWishes {
  kubeconfig: string;
  assign: Assign;
  families: readonly Family[];
  blockPrefix: number;
}

function controllerText({ kubeconfig, assign, families, blockPrefix }: ControllerWishes): string {
  return stringify({
    kubernetes: { kubeconfig },
    assign,
    ranges: families.map((family) => ({ cidr: podRanges[family], blockPrefix: family === 4 ? blockPrefix : 64 })),
    lease: { namespace: "default", name: "fairlead-controller" },
  });
}

/** As a kubelet registers its machine; where the cluster cuts the blocks, those of the layout are its. */
function nodeObject({ name, addresses, blocks }: NodeLayout, assign: Assign): object {
  const podCIDRs = Object.values(blocks);
  return {
    metadata: { name },
    spec: assign === "cluster" ? { podCIDR: podCIDRs[0], podCIDRs } : {},
    status: {
      capacity: { pods: "110" },
      addresses: [
        ...Object.values(addresses).map((address) => ({ type: "InternalIP", address })),
        { type: "Hostname", address: name },
      ],
    },
  };
}

const nodeList = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      spec: z.object({ podCIDRs: z.array(z.string()).default([]) }).prefault({}),
    }),
  ),
});

type BlocksByNode = ReadonlyMap<string, Partial<Record<Family, Cidr>>>;

/** Waits until every node has a block of each family; each is one of the range, and no other node's. */
async function blocksOf(api: Api, { nodes, families }: ClusterLayout): Promise<BlocksByNode> {
  const found = new Map<string, Partial<Record<Family, Cidr>>>();
  await until(
    async () => {
      const { items } = nodeList.parse(await api.must("GET", "/api/v1/nodes"));
      for (const { metadata, spec } of items) {
        const blocks = spec.podCIDRs.map((text) => present(parseCidr(text), `block ${text} of ${metadata.name}`));
        found.set(metadata.name, Object.fromEntries(blocks.map((block) => [cidrFamily(block), block])));
      }
      const without = nodes.find(({ name }) => families.some((family) => found.get(name)?.[family] === undefined));
      return without === undefined ? undefined : `${without.name} has no block of each family`;
    },
    { what: "node blocks", withinMs: placedWithinMs, everyMs: 50 },
  );
  const given = [...found.values()].flatMap((blocks) => Object.values(blocks));
  if (new Set(given).size !== given.length)
    throw new Fault("lab-failed", `two nodes have one block: ${given.join(" ")}`);
  for (const block of given) {
    const range = present(parseCidr(podRanges[cidrFamily(block)]), "range");
    if (!cidrContains(range, cidrBase(block))) throw new Fault("lab-failed", `block ${block} is not of ${range}`);
  }
  return found;
}

/** The layout as it is now: with every node's blocks, and each node's ways to those of the others. */
function placed(layout: ClusterLayout, blocks: BlocksByNode, kubeconfigs: readonly string[]): ClusterLayout {
  const nodes = layout.nodes.map((node, index) => ({
    ...node,
    kubeconfig: present(kubeconfigs[index], "kubeconfig"),
    blocks: blocks.get(node.name) ?? {},
  }));
  const ways = (name: string): NodeLayout["routes"] =>
    nodes
      .filter((other) => other.name !== name)
      .flatMap((other) =>
        layout.families.map((family) => ({
          to: present(other.blocks[family], "block"),
          via: present(other.addresses[family], "address"),
        })),
      );
  return { ...layout, nodes: nodes.map((node) => ({ ...node, routes: ways(node.name) })) };
}

/** Gives an order to the API server's program (lab/kube/control.ts). */
function order(socketPath: string, command: string): Promise<string> {
  return new Promise((done, failed) => {
    const fail = (cause: Error): void =>
      failed(new Fault("lab-failed", `the API server did not follow the order ${command}`, { cause }));
    const call = request({ socketPath, path: `/${command}`, method: "POST" }, (response) => done(text(response)));
    call.on("error", fail);
    call.end();
  });
}
