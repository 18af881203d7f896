// The node that is audited: where it is, and what is known of it beside what it holds.

import type { Cidr } from "../../src/net/cidr.ts";
import type { Ip } from "../../src/net/ip.ts";
import type { AgentPaths } from "./files.ts";
import type { Living } from "./living.ts";

export interface AuditedNode {
  /** Where the node's namespace is found. */
  netnsPath: string;
  /** As the agent's configuration has them. */
  paths: AgentPaths;
  blocks: readonly Cidr[];
  routes: readonly { to: Cidr; via: Ip }[];
  /** Its blocks are the cluster's to give: then the state file holds them, and uid of the Node that got them. */
  inCluster?: boolean;
  /** The link that leads out, and its address of each family: the source of what the node sends to pods. */
  uplink: { name: string; addresses: { readonly 4?: Ip; readonly 6?: Ip } };
  /** "stopped" in order, so that only its state and the pods' network are there; "killed" leaves sockets and a log behind. */
  agent: "runs" | "stopped" | "killed";
  /** What the runtime itself believes to be attached: its own record, not the agent's. Absent: nobody knows but the agent. */
  known?: readonly Living[];
  /** Files and directories of others that lie in the agent's directories. */
  foreignFiles?: readonly string[];
  /**
   * Tracked connections of addresses that nobody has: those of cooling ones may stay until they have cooled, unless "none" may stay.
   * "ignored": any may.
   */
  deadFlows?: "reported" | "none" | "ignored";
  /** How far the agent's clock for cooling is ahead of the machine's: a test sets it forward. */
  clockAheadMs?: number;
}

/** Whether any block is of that family. */
export function servesFamily({ blocks }: Pick<AuditedNode, "blocks">, family: 4 | 6): boolean {
  return blocks.some((block) => block.includes(":") === (family === 6));
}
