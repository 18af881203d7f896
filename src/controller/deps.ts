// What every loop of the controller is given: the client, what the caches know, and who is told.

import type { Log } from "../base/log.ts";
import type { Cache, Kube } from "../kube/contract.ts";
import type { Node } from "../kube/core-objects.ts";
import type { BlockLedger, NodeEndpoints, NodeNetwork } from "../kube/objects.ts";
import type { ControllerConfig } from "./config.ts";
import type { Reporter } from "./events.ts";

/** What the API server has told so far; the caches live as long as the program, whoever leads. */
export interface Caches {
  nodes: Cache<Node>;
  networks: Cache<NodeNetwork>;
  endpoints: Cache<NodeEndpoints>;
  ledgers: Cache<BlockLedger>;
}

export interface ControllerDeps {
  kube: Kube;
  caches: Caches;
  config: Pick<ControllerConfig, "assign" | "ranges" | "serviceRanges">;
  events: Reporter;
  log: Log;
  /** Milliseconds since 1970. */
  now: () => number;
  /** Milliseconds of a clock that nobody sets. */
  uptime: () => number;
}
