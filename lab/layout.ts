// Which name, address, block and route every machine of a lab has: plain arithmetic, no machine is touched.

import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { type Cidr, parseCidr } from "../src/net/cidr.ts";
import { type Ip, parseIp } from "../src/net/ip.ts";
import { labDirectory, netnsPrefix } from "./record.ts";

export type Family = 4 | 6;

/** At most one address of each family. */
export type Addresses = Readonly<Partial<Record<Family, Ip>>>;

/** Machines in one lab. */
export const nodesMax = 16;

/** Prefix lengths of the segment that joins the machines. */
export const wirePrefix = { 4: 24, 6: 64 } as const;

export type BlockSize = "small" | "usual" | "large";

export interface LayoutOptions {
  lab: string;
  nodes: number;
  families: readonly Family[];
  /** True where the machines get a default route (to an address that answers but leads nowhere). */
  gateway: boolean;
  /** "small" blocks hold two pods (/30 and /126), "large" ones are /16 and /64; without it they are the usual /24 and /64. */
  blocks?: BlockSize;
  /** True where there is a machine for an API server and a controller. */
  control?: boolean;
  /** True where pods are masqueraded, and where there is a machine outside to see it. */
  masquerade?: boolean;
  /** True where there is a machine outside that knows the way to pods: they need no masquerade to talk to it. */
  outside?: boolean;
}

export interface NodeLayout {
  name: string;
  netns: string;
  /** Everything of this node lies here: configuration, sockets, state, logs. */
  directory: string;
  addresses: Addresses;
  /** The blocks that its pods get addresses from, one a family. */
  blocks: Readonly<Partial<Record<Family, Cidr>>>;
  /** The way to the other nodes' blocks. */
  routes: readonly { to: Cidr; via: Ip }[];
  /** How its agent finds the API server; absent where its own configuration says all. */
  kubeconfig?: string;
  /** Its agent masquerades pods. */
  masquerade?: boolean;
}

/** A machine beyond the gateway. */
export interface OutsideLayout {
  /** The gateway leads it to pods, not to the machines on the wire alone. */
  knowsPods: boolean;
  netns: string;
  addresses: Addresses;
  /** The gateway's addresses on that side. */
  gateway: Addresses;
}

export interface ClusterLayout {
  lab: string;
  families: readonly Family[];
  /** Namespace that holds the bridge between the machines. */
  wireNetns: string;
  /** The wire's own addresses; default routes lead there. Empty without a gateway. */
  gateway: Addresses;
  nodes: readonly NodeLayout[];
  /** The machine of API server and controller: 172.30.0.2 and fd00:30::2. Absent without Kubernetes. */
  control?: NodeLayout;
  /** Only beside a gateway. */
  outside?: OutsideLayout;
}

/**
 * Plans a cluster in mode "routes": node N has 172.30.0.(10+N) and fd00:30::(10+N), and the blocks 10.4.N.0/24 and fd00:10:4:N::/64; "large" IPv4 blocks are 10.(100+N).0.0/16.
 * @throws Fault "lab-failed" where the number of nodes is out of bounds.
 */
export function planCluster(options: LayoutOptions): ClusterLayout {
  const { lab, nodes, families, gateway, blocks = "usual", control = false, masquerade = false } = options;
  const knowsPods = options.outside === true;
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > nodesMax) {
    throw new Fault("lab-failed", `a lab has 1 to ${nodesMax} nodes, not ${nodes}`);
  }
  const numbers = Array.from({ length: nodes }, (_, index) => index + 1);
  return {
    lab,
    families,
    wireNetns: `${netnsPrefix}${lab}-wire`,
    gateway: gateway ? byFamily(families, (family) => address(family === 4 ? "172.30.0.1" : "fd00:30::1")) : {},
    nodes: numbers.map((number) => ({
      name: `node-${number}`,
      netns: nodeNetns(lab, `node-${number}`),
      directory: `${labDirectory(lab)}/node-${number}`,
      addresses: byFamily(families, (family) => nodeAddress(number, family)),
      blocks: byFamily(families, (family) => nodeBlock(number, family, blocks)),
      routes: numbers
        .filter((other) => other !== number)
        .flatMap((other) =>
          families.map((family) => ({ to: nodeBlock(other, family, blocks), via: nodeAddress(other, family) })),
        ),
      ...(masquerade ? { masquerade } : {}),
    })),
    ...(masquerade || knowsPods ? { outside: outsideMachine(lab, families, knowsPods) } : {}),
    ...(control ? { control: controlMachine(lab, families) } : {}),
  };
}

/** Every machine on the wire. */
export function machinesOf({ nodes, control }: ClusterLayout): readonly NodeLayout[] {
  return control === undefined ? nodes : [control, ...nodes];
}

function controlMachine(lab: string, families: readonly Family[]): NodeLayout {
  return {
    name: "control",
    netns: nodeNetns(lab, "control"),
    directory: `${labDirectory(lab)}/control`,
    addresses: byFamily(families, (family) => address(family === 4 ? "172.30.0.2" : "fd00:30::2")),
    blocks: {},
    routes: [],
  };
}

function outsideMachine(lab: string, families: readonly Family[], knowsPods: boolean): OutsideLayout {
  const own = (host: number) =>
    byFamily(families, (family) => address(family === 4 ? `203.0.113.${host}` : `2001:db8:113::${host}`));
  return { netns: nodeNetns(lab, "outside"), knowsPods, addresses: own(10), gateway: own(1) };
}

/** The namespace of a node's machine. */
export function nodeNetns(lab: string, node: string): string {
  return `${netnsPrefix}${lab}-${node}`;
}

/** The namespace of a pod. */
export function podNetns(lab: string, pod: string): string {
  return `${netnsPrefix}${lab}-pod-${pod}`;
}

function nodeAddress(number: number, family: Family): Ip {
  return address(family === 4 ? `172.30.0.${10 + number}` : `fd00:30::${10 + number}`);
}

function nodeBlock(number: number, family: Family, size: BlockSize): Cidr {
  const prefix = { small: { 4: 30, 6: 126 }, usual: { 4: 24, 6: 64 }, large: { 4: 16, 6: 64 } }[size][family];
  const base4 = size === "large" ? `10.${100 + number}.0.0` : `10.4.${number}.0`;
  const text = `${family === 4 ? base4 : `fd00:10:4:${number.toString(16)}::`}/${prefix}`;
  return present(parseCidr(text), text);
}

function address(text: string): Ip {
  return present(parseIp(text), text);
}

function byFamily<T>(families: readonly Family[], make: (family: Family) => T): Partial<Record<Family, T>> {
  return Object.fromEntries(families.map((family) => [family, make(family)]));
}
