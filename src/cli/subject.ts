// What `fairlead status` is about, where both could be meant: the cluster, or the agent of this node.

import { existsSync } from "node:fs";
import { Fault } from "../base/fault.ts";
import { knowsCluster } from "./cluster/open.ts";
import type { ClusterFlags } from "./cluster/kubeconfig-file.ts";

export interface SubjectFlags extends ClusterFlags {
  cluster?: boolean;
  node?: boolean;
  socket?: string;
}

/**
 * A flag decides; without any, the cluster where a kubeconfig is at hand, else this node. `atHand` asks for that.
 * @throws Fault "bad-config" where flags speak of both
 */
export function chooseSubject(
  flags: SubjectFlags,
  atHand: () => boolean = () => knowsCluster(flags),
): "cluster" | "node" {
  const { cluster, node, socket, kubeconfig, context } = flags;
  const ofNode = node === true ? "--node" : socket === undefined ? undefined : "--socket";
  const ofCluster =
    cluster === true
      ? "--cluster"
      : kubeconfig !== undefined
        ? "--kubeconfig"
        : context === undefined
          ? undefined
          : "--context";
  if (ofNode !== undefined && ofCluster !== undefined) {
    throw new Fault("bad-config", `${ofNode} asks for this node and ${ofCluster} for the cluster; give one of them`);
  }
  if (ofNode !== undefined) return "node";
  return ofCluster !== undefined || atHand() ? "cluster" : "node";
}

/**
 * What a person who named neither may have meant as well: beside a cluster this node's agent, where its socket is there; beside a node,
 * for when no agent answers, the cluster that is not known.
 */
export function wordOnOther(flags: SubjectFlags, subject: "cluster" | "node", socketPath: string): string | undefined {
  const { cluster, node, socket, kubeconfig, context } = flags;
  if ([cluster, node, socket, kubeconfig, context].some((flag) => flag !== undefined)) return undefined;
  if (subject === "node") return "no cluster is known here either: name a kubeconfig by --kubeconfig or KUBECONFIG";
  return existsSync(socketPath)
    ? "This is the cluster; fairlead status --node shows the agent of this node."
    : undefined;
}
