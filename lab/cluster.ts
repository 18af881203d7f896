// A running cluster of a lab: machines, agents, pods and their containers, and the steps that change them.

import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import type { Daemon } from "./daemon.ts";
import type { FlowTable } from "./flows.ts";
import { placeholder } from "./form.ts";
import { type HeldConnections, createHeldConnections } from "./held.ts";
import type { Addresses, ClusterLayout } from "./layout.ts";
import { type Assign, type Kubernetes, startKubernetes } from "./kubernetes.ts";
import { leadToPods, makeMachines } from "./machines.ts";
import { createNode, type LabNode } from "./node.ts";
import { namespaceDefault, type PodWish } from "./pod-object.ts";
import { type Endpoint, startServer } from "./probing.ts";
import type { Lab } from "./record.ts";
import type { Sandbox } from "./runtime.ts";
import { all } from "./waiting.ts";

/** A pod, which is its first container too. */
export interface Pod extends Endpoint {
  node: LabNode;
  namespace: string;
  hostNetwork: boolean;
}

/** A sandbox that is no more: what it had must not be found anywhere. */
export interface FormerSandbox {
  sandbox: Sandbox;
  node: LabNode;
}

export interface Cluster {
  readonly lab: Lab;
  readonly layout: ClusterLayout;
  /** Absent where nodes stand alone. */
  readonly kubernetes?: Kubernetes;
  readonly nodes: ReadonlyMap<string, LabNode>;
  readonly pods: ReadonlyMap<string, Pod>;
  /** Sandboxes that were deleted, oldest first. */
  readonly former: readonly FormerSandbox[];
  readonly held: HeldConnections;
  /** The `fairlead` that runs, where it is not that of this project. */
  readonly program?: string | undefined;
  /** Ports that every pod, node and machine answers at beside its own. */
  readonly ports: readonly number[];
  /** The machine beyond the gateway. */
  readonly outside?: Endpoint;
  /** What `expect every flow passes or not as before` is held against. */
  lastTable?: FlowTable;
  node(name: string): LabNode;
  pod(name: string): Pod;
  /** A node, pod or container by its name. */
  endpoint(name: string): Endpoint;
  /** Puts addresses in place of `{v4}`, `{v6}` (those of `place`) and `{NAME.v4}`, `{NAME.v6}`. */
  expand(text: string, place: string): string;
  addPod(name: string, wish: PodWish): Promise<void>;
  /** A second process in the pod's network namespace: all that containers of one pod are to the network. */
  addContainer(name: string, pod: string): Promise<void>;
  /** Ends the containers, then the sandbox, in kubelet's order. */
  deletePod(name: string): Promise<void>;
  /** The same pod (its uid stays) with a new sandbox. */
  restartPod(name: string): Promise<void>;
  /** DEL once more for the latest former sandbox of the pod. */
  deleteAgain(name: string): Promise<void>;
}

/** Every echo server of a cluster has ports of its own, so that containers of one pod and hostNetwork pods never collide. */
const portFirst = 7_001;
const localPortOffset = 10_000;
const serversMax = 2_000;
/** Further ports that every server answers at. */
const portsMax = 16;

interface Container {
  endpoint: Endpoint;
  pod: string;
  server: Daemon;
}

export interface ClusterOptions {
  /** The `fairlead` that runs; that of this project if absent. */
  program?: string | undefined;
  /** Who cuts node blocks, where there is Kubernetes around the nodes (`plan.control`). */
  assign?: Assign;
  /** See KubernetesOptions. */
  keepsObjects?: boolean;
  blockPrefix?: number;
  /** Every first container of a pod, node and machine answers at these too, by TCP and UDP. */
  ports?: readonly number[];
}

type NewEndpoint = (name: string, netns: string, addresses: Addresses, further?: readonly number[]) => Endpoint;

/** Makes endpoints with ports of their own; `further` are those that all answer at, none where another server of the namespace has them. */
function createEndpoints(ports: readonly number[]): NewEndpoint {
  if (ports.length > portsMax)
    throw new Fault("lab-failed", `servers of a lab answer at no more than ${portsMax} further ports`);
  let servers = 0;
  return (name, netns, addresses, further = ports) => {
    if (servers >= serversMax) throw new Fault("lab-failed", `a lab starts at most ${serversMax} containers`);
    const port = portFirst + servers;
    servers += 1;
    if (further.includes(port))
      throw new Fault("lab-failed", `port ${port} is that of ${name} alone; name another one`);
    return { name, netns, addresses, port, localPort: port + localPortOffset, ports: further };
  };
}

/**
 * Makes the machines of `plan` and starts an agent and an echo server on each node; on return all nodes are ready for pods.
 */
export async function startCluster(lab: Lab, plan: ClusterLayout, options: ClusterOptions = {}): Promise<Cluster> {
  const { program, assign = "fairlead", keepsObjects = true, blockPrefix = 24, ports = [] } = options;
  const nodes = new Map<string, LabNode>();
  const machines = new Map<string, Endpoint>();
  const pods = new Map<string, Pod>();
  const containers = new Map<string, Container>();
  const former: FormerSandbox[] = [];
  const newEndpoint = createEndpoints(ports);

  function node(name: string): LabNode {
    return present(nodes.get(name), `node ${name}`);
  }

  function pod(name: string): Pod {
    return present(pods.get(name), `pod ${name}`);
  }

  async function startContainer(endpoint: Endpoint, podName: string): Promise<void> {
    containers.set(endpoint.name, { endpoint, pod: podName, server: await startServer(lab, endpoint) });
  }

  async function endContainers(podName: string): Promise<void> {
    const mine = [...containers.values()].filter((container) => container.pod === podName);
    await all(mine.map(({ server }) => server.end(0)));
    for (const { endpoint } of mine) containers.delete(endpoint.name);
  }

  interface Start {
    node: LabNode;
    namespace: string;
    uid: string | undefined;
  }

  async function start(name: string, { node: on, namespace, uid }: Start): Promise<Addresses> {
    const sandbox = await on.runtime.add(name, { namespace, ...(uid === undefined ? {} : { uid }) });
    const endpoint = newEndpoint(name, sandbox.netns, present(sandbox.result, "result of ADD").addresses);
    pods.set(name, { ...endpoint, node: on, namespace, hostNetwork: false });
    await startContainer(endpoint, name);
    return endpoint.addresses;
  }

  /** Gives the sandbox that is no more. */
  async function stop(name: string): Promise<FormerSandbox> {
    const on = pod(name).node;
    const sandbox = on.runtime.sandbox(name);
    await endContainers(name);
    await on.runtime.del(name);
    pods.delete(name);
    const gone = { sandbox, node: on };
    former.push(gone);
    return gone;
  }

  function endpointOf(name: string): Endpoint {
    const found = machines.get(name) ?? containers.get(name)?.endpoint ?? pods.get(name);
    return present(found, `node, pod or container ${name}`);
  }

  await makeMachines(lab, plan);
  if (plan.outside !== undefined) {
    const outside = newEndpoint("outside", plan.outside.netns, plan.outside.addresses);
    machines.set(outside.name, outside);
    await startServer(lab, outside);
  }
  const kubernetes =
    plan.control === undefined
      ? undefined
      : await startKubernetes(lab, plan, { assign, keepsObjects, blockPrefix, program });
  const layout = (await kubernetes?.register()) ?? plan;
  if (plan.outside?.knowsPods === true) await leadToPods(lab, layout);
  await all(
    layout.nodes.map(async (nodeLayout) => {
      const made = createNode(lab, nodeLayout, program);
      const machine = newEndpoint(nodeLayout.name, nodeLayout.netns, nodeLayout.addresses);
      nodes.set(nodeLayout.name, made);
      machines.set(nodeLayout.name, machine);
      await all([made.startAgent(), startServer(lab, machine)]);
    }),
  );

  return {
    lab,
    layout,
    ...(kubernetes === undefined ? {} : { kubernetes }),
    nodes,
    pods,
    former,
    held: createHeldConnections(lab),
    program,
    ports,
    ...(machines.has("outside") ? { outside: endpointOf("outside") } : {}),
    node,
    pod,
    endpoint: endpointOf,
    expand: (text, place) =>
      text.replaceAll(placeholder, (_, name: string | undefined, family: string) => {
        const { addresses } = endpointOf(name ?? place);
        return present(addresses[family === "4" ? 4 : 6], `IPv${family} address of ${name ?? place}`);
      }),
    addPod: async (name, wish) => {
      const { hostNetwork = false, namespace = namespaceDefault } = wish;
      const on = node(wish.node);
      const uid = await kubernetes?.bindPod(name, wish);
      if (!hostNetwork) {
        const addresses = await start(name, { node: on, namespace, uid });
        return kubernetes?.podRuns(name, namespace, addresses);
      }
      const endpoint = newEndpoint(name, on.layout.netns, on.layout.addresses, []);
      pods.set(name, { ...endpoint, node: on, namespace, hostNetwork });
      await startContainer(endpoint, name);
    },
    addContainer: async (name, podName) => {
      const { netns, addresses } = pod(podName);
      await startContainer(newEndpoint(name, netns, addresses, []), podName);
    },
    deletePod: async (name) => {
      const { hostNetwork, namespace } = pod(name);
      if (!hostNetwork) {
        await stop(name);
      } else {
        await endContainers(name);
        pods.delete(name);
      }
      await kubernetes?.podGone(name, namespace);
    },
    restartPod: async (name) => {
      const { sandbox, node: on } = await stop(name);
      await start(name, { node: on, namespace: sandbox.namespace, uid: sandbox.uid });
    },
    deleteAgain: async (name) => {
      const last = present(
        former.findLast(({ sandbox }) => sandbox.pod === name),
        `a former sandbox of ${name}`,
      );
      await last.node.runtime.delAgain(last.sandbox);
    },
  };
}
