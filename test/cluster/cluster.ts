// A whole test cluster: control plane, nodes, images, a network for its pods; on return every node is Ready.

import { z } from "zod";
import { present } from "../../src/base/assert.ts";
import type { Family } from "../../lab/layout.ts";
import { makeMachines } from "../../lab/machines.ts";
import { readJson } from "../../lab/json.ts";
import type { Lab } from "../../lab/record.ts";
import { all, until } from "../../lab/waiting.ts";
import { referencePath } from "../reference/programs.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { dnsObjects } from "./dns.ts";
import { imageNames, makeImages } from "./images.ts";
import { imageFile, installFairlead } from "./network-fairlead.ts";
import { installPtp, routeBlocks } from "./network-ptp.ts";
import { closeRegistries, type ClusterNode, makeNode } from "./node.ts";
import type { ProxyMode } from "./node-config.ts";
import { blockPrefixes, type ClusterPlan, planKubernetes } from "./plan.ts";

/** "none" leaves the nodes without a plugin: NotReady, with pods on the host's network only. */
export type Network = "ptp" | "fairlead" | "none";

export interface KubernetesOptions {
  nodes?: number;
  families?: readonly Family[];
  network: Network;
  proxyMode?: ProxyMode;
  /** Whether Kubernetes itself gives each node its blocks; else the network has to. */
  allocateNodeCidrs?: boolean;
  /** Lengths of the prefixes of nodes' blocks. */
  blockPrefixes?: Readonly<Record<Family, number>>;
  /** Leaves the nodes bare, and NotReady, until `installNetwork` is called. */
  installLater?: boolean;
  /** Whether pods find a resolver. */
  dns?: boolean;
  podsMax?: number;
  /** Told what was done, for people who wait. */
  onStep?: (step: string) => void;
}

export interface KubernetesCluster {
  readonly lab: Lab;
  readonly plan: ClusterPlan;
  readonly plane: ControlPlane;
  readonly nodes: readonly ClusterNode[];
  readonly options: Required<Omit<KubernetesOptions, "onStep" | "podsMax">>;
  kubectl: ControlPlane["kubectl"];
  node(name: string): ClusterNode;
  /** Gives nodes their network; settles when they have blocks, and all machines that are no nodes the routes to them. */
  installNetwork(): Promise<void>;
  /** Settles when all nodes are Ready. */
  untilNodesReady(withinMs?: number): Promise<void>;
  /** Ends all programs at once, in an order in which none waits for another; pods and the rest go with the lab. */
  end(): Promise<void>;
}

/** From the start of kubelets until their nodes are registered, and until they are Ready. */
const registeredWithinMs = 60_000;
const readyWithinMs = 120_000;

/** Starts a cluster in a lab that has nothing in it yet. What was made of it when this fails goes with the lab. */
export async function startKubernetes(lab: Lab, asked: KubernetesOptions): Promise<KubernetesCluster> {
  const { onStep = () => {}, podsMax, ...rest } = asked;
  const options = {
    nodes: 2,
    families: [4, 6] as readonly Family[],
    proxyMode: "nftables" as const,
    allocateNodeCidrs: true,
    blockPrefixes,
    installLater: false,
    dns: asked.network !== "none",
    ...rest,
  };
  const { proxyMode, allocateNodeCidrs, installLater } = options;
  const plan = planKubernetes({ lab: lab.name, ...options });
  const [made] = await all([makeImages(lab.env), makeMachines(lab, plan.layout)]);
  const images = options.network === "fairlead" ? [...made, imageFile] : made;
  onStep("machines and images are there");
  const plane = await startControlPlane(lab, plan, { controllers: true, allocateNodeCidrs });
  onStep("the API server is ready");
  const common = { plan, authority: plane.authority, server: plane.server, proxyMode, pauseImage: imageNames.pause };
  const nodes = await all(
    plan.nodes.map(async (layout) => {
      const node = await makeNode(lab, { ...common, layout, ...(podsMax === undefined ? {} : { podsMax }) });
      // Every node's image has the loopback plugin; the runtime asks for it whatever the network is.
      await all([closeRegistries(node), node.installPlugin(`${referencePath}/loopback`)]);
      await all([node.start("kubelet"), node.start("kube-proxy"), ...images.map((file) => node.importImage(file))]);
      return node;
    }),
  );
  onStep("runtimes, kubelets and proxies run, images are imported");
  const cluster: KubernetesCluster = {
    lab,
    plan,
    plane,
    nodes,
    options,
    kubectl: plane.kubectl,
    node: (name) =>
      present(
        nodes.find((node) => node.name === name),
        `node ${name}`,
      ),
    installNetwork: () => installNetwork(cluster),
    untilNodesReady: (withinMs = readyWithinMs) =>
      until(async () => notReady(await readNodes(plane), nodes), { what: "Ready nodes", withinMs, everyMs: 200 }),
    end: async () => {
      for (const program of ["kubelet", "kube-proxy", "containerd"] as const) {
        await all(nodes.map((node) => node.kill(program)));
      }
      await plane.end();
    },
  };
  if (!installLater) {
    await installNetwork(cluster);
    if (options.network !== "none") await cluster.untilNodesReady();
    onStep("nodes are Ready");
  }
  if (options.dns) await installDns(cluster);
  return cluster;
}

/** Pods that look names up before CoreDNS runs have to try again, as everywhere: it is not waited for. */
async function installDns({ plane, options }: KubernetesCluster): Promise<void> {
  const list = { apiVersion: "v1", kind: "List", items: dnsObjects(options.families) };
  await plane.kubectl(["apply", "-f", "-"], { input: JSON.stringify(list) });
}

async function installNetwork(cluster: KubernetesCluster): Promise<void> {
  const { lab, plan, plane, nodes, options } = cluster;
  const { network, allocateNodeCidrs, families } = options;
  if (network === "fairlead") await installFairlead(plane, { allocateNodeCidrs, plan });
  if (network === "none" && !allocateNodeCidrs) return;
  const blocks = await untilBlocks(plane, nodes, families.length);
  const routed = nodes.map(({ layout, name }) => ({ layout, blocks: present(blocks.get(name), `blocks of ${name}`) }));
  if (network === "ptp") await all(nodes.map((node) => installPtp(node, present(blocks.get(node.name), node.name))));
  // With Fairlead the nodes' agents make the nodes' own routes; machines that are no nodes need them all the same.
  const machines = network === "ptp" ? plan.layout.nodes : [plan.control, ...(plan.outside ? [plan.outside] : [])];
  await all(machines.map((machine) => routeBlocks(lab, machine, routed)));
}

const conditionSchema = z.object({
  type: z.string(),
  status: z.string(),
  message: z.string().default(""),
});
const nodeSchema = z.object({
  metadata: z.object({ name: z.string() }),
  spec: z.object({ podCIDRs: z.array(z.string()).default([]) }),
  status: z.object({
    conditions: z.array(conditionSchema).default([]),
  }),
});
export type SeenNode = z.output<typeof nodeSchema>;

/** The Node objects as the API server has them. */
export async function readNodes(plane: ControlPlane): Promise<SeenNode[]> {
  const text = await plane.kubectl(["get", "nodes", "--output=json"]);
  return readJson(z.object({ items: z.array(nodeSchema) }), text, "kubectl get nodes").items;
}

async function untilBlocks(
  plane: ControlPlane,
  nodes: readonly ClusterNode[],
  count: number,
): Promise<Map<string, readonly string[]>> {
  let seen = new Map<string, readonly string[]>();
  const complete = async (): Promise<string | undefined> => {
    seen = new Map((await readNodes(plane)).map(({ metadata, spec }) => [metadata.name, spec.podCIDRs]));
    const lacking = nodes.filter(({ name }) => seen.get(name)?.length !== count);
    return lacking.length === 0 ? undefined : `no blocks of ${lacking.map(({ name }) => name).join(", ")}`;
  };
  await until(complete, { what: "nodes with blocks", withinMs: registeredWithinMs, everyMs: 200 });
  return seen;
}

function notReady(seen: readonly SeenNode[], nodes: readonly ClusterNode[]): string | undefined {
  for (const { name } of nodes) {
    const conditions = seen.find(({ metadata }) => metadata.name === name)?.status.conditions ?? [];
    const ready = conditions.find(({ type }) => type === "Ready");
    if (ready?.status !== "True") return `${name}: ${ready?.message ?? "not registered"}`;
  }
  return undefined;
}
