// Which machine, address and range everything of a test cluster has: plain arithmetic, no machine is touched.

import { present } from "../../src/base/assert.ts";
import { Fault } from "../../src/base/fault.ts";
import { type Ip, parseIp } from "../../src/net/ip.ts";
import { type Addresses, type ClusterLayout, type Family, nodeNetns, type NodeLayout } from "../../lab/layout.ts";
import { labDirectory, netnsPrefix } from "../../lab/record.ts";

/** Pods get their addresses from here. */
export const podRanges = { 4: "10.244.0.0/16", 6: "fd00:10:244::/56" } as const;
/** How long the prefix of a node's part of them is, unless a cluster is asked for other blocks. */
export const blockPrefixes = { 4: 24, 6: 64 } as const;
/** Services get their addresses from here. */
export const serviceRanges = { 4: "10.96.0.0/16", 6: "fd00:10:96::/112" } as const;
/** The first of each service range is that of the service "kubernetes". */
export const apiServiceAddresses = { 4: "10.96.0.1", 6: "fd00:10:96::1" } as const;
/** Where pods look names up. */
export const dnsServiceAddresses = { 4: "10.96.0.10", 6: "fd00:10:96::a" } as const;

export const clusterDomain = "cluster.local";
export const apiPort = 6443;

/** Nodes of one cluster. */
export const nodesMax = 8;

export interface ClusterPlan {
  /** The wire and all machines on it, for `makeMachines`. */
  layout: ClusterLayout;
  /** The first is that of services and pods which do not ask for one. */
  families: readonly Family[];
  /** Lengths of the prefixes of nodes' blocks. */
  blockPrefixes: Readonly<Record<Family, number>>;
  control: NodeLayout;
  nodes: readonly NodeLayout[];
  /** A machine on the same wire that is no node. */
  outside: NodeLayout | undefined;
}

export interface PlanOptions {
  lab: string;
  nodes: number;
  families: readonly Family[];
  blockPrefixes?: Readonly<Record<Family, number>>;
}

/**
 * Plans a cluster: the control plane has 172.30.0.2 and fd00:30::2, node N 172.30.0.(10+N), the machine outside 172.30.0.100.
 * Without nodes there is a control plane alone.
 * @throws Fault "lab-failed" where the number of nodes is out of bounds.
 */
export function planKubernetes(options: PlanOptions): ClusterPlan {
  const { lab, nodes, families } = options;
  if (!Number.isInteger(nodes) || nodes < 0 || nodes > nodesMax) {
    throw new Fault("lab-failed", `a cluster has 0 to ${nodesMax} nodes, not ${nodes}`);
  }
  const machine = (name: string, last: number): NodeLayout => ({
    name,
    netns: nodeNetns(lab, name),
    directory: `${labDirectory(lab)}/${name}`,
    addresses: wireAddresses(families, last),
    blocks: {},
    routes: [],
  });
  const control = machine("control", 2);
  const workers = Array.from({ length: nodes }, (_, index) => machine(`node-${index + 1}`, 11 + index));
  const outside = nodes === 0 ? undefined : machine("outside", 100);
  return {
    layout: {
      lab,
      families,
      wireNetns: `${netnsPrefix}${lab}-wire`,
      gateway: wireAddresses(families, 1),
      nodes: [control, ...workers, ...(outside === undefined ? [] : [outside])],
    },
    families,
    blockPrefixes: options.blockPrefixes ?? blockPrefixes,
    control,
    nodes: workers,
    outside,
  };
}

/** One value a family, in the cluster's order, as Kubernetes' flags want it: "a,b". */
export function perFamily(families: readonly Family[], values: Readonly<Partial<Record<Family, string>>>): string {
  return families.map((family) => present(values[family], `IPv${family} value`)).join(",");
}

/** The address by which a machine is called: that of the cluster's first family. */
export function mainAddress({ addresses }: NodeLayout, families: readonly Family[]): Ip {
  return present(addresses[present(families[0], "family")], "main address");
}

/** The address as it stands in a URL. */
export function urlHost(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

function wireAddresses(families: readonly Family[], last: number): Addresses {
  return Object.fromEntries(
    families.map((family) => {
      const text = family === 4 ? `172.30.0.${last}` : `fd00:30::${last}`;
      return [family, present(parseIp(text), text)];
    }),
  );
}
