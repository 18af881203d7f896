// What `fairlead status` is about, where both could be meant: the cluster, or the agent of this node.

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
