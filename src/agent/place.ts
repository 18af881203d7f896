// Where this node stands: its blocks, and the ways to those of other nodes. Said by the configuration, or by the cluster.

import type { Blocks } from "../ipam/store.ts";
import type { Cidr } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import type { AgentConfig } from "./config.ts";

/** The way to another node's block. */
export interface NodeRoute {
  to: Cidr;
  via: Ip;
}

export interface Ways {
  routes: readonly NodeRoute[];
  /** False while it is not known of all other nodes: ways that are there and not among `routes` stay then. */
  complete: boolean;
  /** A person wrote them down: others may go at once, however many. */
  written: boolean;
}

export interface Place {
  /** The node's own blocks; none while they are not known. */
  blocks: () => Blocks;
  /** `near`: the networks that the uplink reaches without a router. */
  ways: (near: readonly Cidr[]) => Ways;
}

/** A node outside Kubernetes: all of it stands in its file. */
export function configuredPlace({ addresses, routes }: AgentConfig): Place {
  return { blocks: () => addresses.blocks, ways: () => ({ routes, complete: true, written: true }) };
}
