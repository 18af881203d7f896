// What every loop of the controller is given: the client, what the caches know, who is told, and the pace of most.

import type { Log } from "../base/log.ts";
import type { Cache, Kube } from "../kube/contract.ts";
import type { Node, Pod } from "../kube/core-objects.ts";
import type { BlockLedger, NodeEndpoints, NodeNetwork } from "../kube/objects.ts";
import type {
  MembershipSlice,
  Namespace,
  NetworkPolicy,
  SecurityGroup,
  SecurityGroupBinding,
  SecurityGroupPolicy,
  ServiceAccount,
} from "../kube/policy-objects.ts";
import type { ControllerConfig } from "./config.ts";
import type { Reporter } from "./events.ts";

/** Of loops that answer to changes of nodes: many nodes that come at once become one pass. */
export const nodePace = { minMs: 100, retryMs: 500, retryMaxMs: 30_000, maxMs: 60_000 } as const;

/** What the API server has told so far; the caches live as long as the program, whoever leads. */
export interface Caches {
  nodes: Cache<Node>;
  networks: Cache<NodeNetwork>;
  endpoints: Cache<NodeEndpoints>;
  ledgers: Cache<BlockLedger>;
  pods: Cache<Pod>;
  namespaces: Cache<Namespace>;
  serviceAccounts: Cache<ServiceAccount>;
  networkPolicies: Cache<NetworkPolicy>;
  groups: Cache<SecurityGroup>;
  bindings: Cache<SecurityGroupBinding>;
  /** Holds nothing in a cluster that has no such kind. */
  groupPolicies: Cache<SecurityGroupPolicy>;
  slices: Cache<MembershipSlice>;
}

export interface ControllerDeps {
  kube: Kube;
  caches: Caches;
  config: Pick<ControllerConfig, "assign" | "ranges" | "serviceRanges"> & Partial<Pick<ControllerConfig, "policy">>;
  events: Reporter;
  log: Log;
  /** Milliseconds since 1970. */
  now: () => number;
  /** Milliseconds of a clock that nobody sets. */
  uptime: () => number;
}
