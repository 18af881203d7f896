// Pods of a cluster for tests of memberships, each with its attachment on a node that has blocks, and the objects that select them.

import { present } from "../../src/base/assert.ts";
import type { Kind, KubeObject } from "../../src/kube/contract.ts";
import { nodes, pods } from "../../src/kube/core-objects.ts";
import { type Endpoint, nodeEndpoints, nodeNetworks } from "../../src/kube/objects.ts";
import {
  membershipSlices,
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "../../src/kube/policy-objects.ts";
import { parseIp } from "../../src/net/ip.ts";
import type { World } from "./world.ts";

/** Pods as they are sent: what we keep of them is less than a server asks for. */
const wholePods: Kind<KubeObject> = { ...pods, parse: (raw) => raw as KubeObject };

export interface PodParts {
  node: string;
  /** None: it has no attachment yet. */
  addresses?: readonly string[];
  namespace?: string;
  labels?: Readonly<Record<string, string>>;
  ports?: readonly { name?: string; containerPort: number; protocol?: string }[];
  hostNetwork?: boolean;
  serviceAccountName?: string;
}

export interface Tenants {
  /** A node with these blocks, which its NodeNetwork tells of. */
  addNode(name: string, ...blocks: string[]): Promise<void>;
  addNamespace(name: string, labels?: Readonly<Record<string, string>>): Promise<void>;
  addServiceAccount(name: string, labels: Readonly<Record<string, string>>): Promise<void>;
  /** Makes the pod and publishes its attachment. Gives its uid. */
  addPod(name: string, parts: PodParts): Promise<string>;
  setPhase(name: string, phase: string): Promise<void>;
  label(name: string, labels: Readonly<Record<string, string | null>>): Promise<void>;
  /** The object goes; its attachment stays. */
  removePod(name: string): Promise<void>;
  /** The attachment goes; the object stays. */
  detach(name: string): Promise<void>;
  /** What the node's agent publishes; other than what it has done so far where it is given. */
  publish(node: string, endpoints?: readonly Endpoint[]): Promise<void>;
  policy(name: string, spec: object, namespace?: string): Promise<void>;
  group(name: string, spec?: object): Promise<void>;
  bind(name: string, spec: { podSelector?: object; serviceAccountSelector?: object; groups: string[] }): Promise<void>;
  /** Binds pods by the kind of AWS. */
  bindAsAws(name: string, spec: { podSelector: object; groupIds: string[] }): Promise<void>;
  /** The slices as the server has them: of each membership its peer, and by slice the addresses. */
  slices(): Promise<Record<string, Record<string, string[]>>>;
}

export const shop = "shop";

/** Starts with the namespace `shop` and its default account. */
export async function createTenants(world: World): Promise<Tenants> {
  const { kube } = world;
  const attached = new Map<string, Endpoint[]>();
  const placeOf = new Map<string, string>();
  const publish = async (node: string, endpoints = attached.get(node) ?? []): Promise<void> => {
    attached.set(node, [...endpoints]);
    await kube.patch(nodeEndpoints, { name: node }, { type: "merge", body: { endpoints } });
  };
  const tenants: Tenants = {
    addNode: async (name, ...blocks) => {
      await world.addNode(name, { podCIDRs: blocks });
      await world.runAgent(name);
      const nodeUid = (await kube.get(nodes, { name })).metadata.uid;
      const status = { nodeUid, blocks: blocks.map((cidr) => ({ cidr })), addresses: [] };
      await kube.patch(nodeNetworks, { name }, { type: "merge", body: { status } }, { subresource: "status" });
    },
    addNamespace: async (name, labels = {}) => void (await kube.create(namespaces, { metadata: { name, labels } })),
    addServiceAccount: async (name, labels) =>
      void (await kube.create(serviceAccounts, { metadata: { name, namespace: shop, labels } })),
    addPod: async (name, { node, addresses = [], namespace = shop, labels = {}, ports = [], ...spec }) => {
      const body = {
        metadata: { name, namespace, labels },
        spec: { nodeName: node, serviceAccountName: "default", containers: [{ name: "main", ports }], ...spec },
      };
      const uid = present((await kube.create(wholePods, body)).metadata.uid, "a uid");
      placeOf.set(name, node);
      if (addresses.length === 0) return uid;
      const ips = addresses.map((text) => present(parseIp(text), text));
      const endpoint = { namespace, name, uid, interface: "eth0", addresses: ips };
      await publish(node, [...(attached.get(node) ?? []), endpoint]);
      return uid;
    },
    setPhase: async (name, phase) => {
      const body = { status: { phase } };
      await kube.patch(wholePods, { name, namespace: shop }, { type: "merge", body }, { subresource: "status" });
    },
    label: async (name, labels) => {
      await kube.patch(wholePods, { name, namespace: shop }, { type: "merge", body: { metadata: { labels } } });
    },
    removePod: (name) => removeAtOnce(world, name),
    detach: async (name) => {
      const node = present(placeOf.get(name), name);
      await publish(
        node,
        (attached.get(node) ?? []).filter((endpoint) => endpoint.name !== name),
      );
    },
    publish,
    policy: async (name, spec, namespace = shop) => {
      const whole: Kind<KubeObject> = { ...networkPolicies, parse: (raw) => raw as KubeObject };
      await kube.create(whole, { metadata: { name, namespace }, spec } as KubeObject);
    },
    group: async (name, spec = {}) =>
      void (await kube.create(securityGroups, { metadata: { name }, spec: { bindableFrom: {}, ...spec } })),
    bind: async (name, spec) =>
      void (await kube.create(securityGroupBindings, { metadata: { name, namespace: shop }, spec })),
    bindAsAws: async (name, { podSelector, groupIds }) => {
      const spec = { podSelector, securityGroups: { groupIds } };
      await kube.create(
        securityGroupPolicies,
        securityGroupPolicies.parse({ metadata: { name, namespace: shop }, spec }),
      );
    },
    slices: async () => {
      const { items } = await kube.list(membershipSlices);
      const told: Record<string, Record<string, string[]>> = {};
      for (const { metadata, peer, endpoints } of items) {
        const slices = (told[peer] ??= {});
        slices[metadata.name.replace(/^.*-/, "")] = endpoints.map(({ addresses }) => addresses.join());
      }
      return told;
    },
  };
  await tenants.addNamespace(shop);
  await tenants.addServiceAccount("default", {});
  return tenants;
}

/** As a kubelet ends a pod: at once, without a time of grace. */
async function removeAtOnce({ server }: World, name: string): Promise<void> {
  const url = `${server.url}/api/v1/namespaces/${shop}/pods/${name}`;
  const body = JSON.stringify({ kind: "DeleteOptions", apiVersion: "v1", gracePeriodSeconds: 0 });
  const answer = await fetch(url, { method: "DELETE", headers: { "content-type": "application/json" }, body });
  if (!answer.ok) throw new Error(`DELETE ${url}: ${answer.status} ${await answer.text()}`);
}
