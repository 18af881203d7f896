// The tool's client of the cluster that a person means, and in plain words why there is none.

import { environment } from "../../base/config.ts";
import { isFault } from "../../base/fault.ts";
import type { KubeAddress } from "../../kube/address.ts";
import { connect } from "../../kube/connect.ts";
import type { Kube } from "../../kube/contract.ts";
import { fromKubeconfig } from "../../kube/kubeconfig.ts";
import { borrowedAddress, borrowedKeys } from "./borrowed.ts";
import {
  chooseContext,
  type ChosenContext,
  type ClusterFlags,
  kubeconfigFiles,
  type Surroundings,
} from "./kubeconfig-file.ts";

export interface OpenCluster {
  kube: Kube;
  /** Where it is, for people and for the JSON. */
  place: { server: string; context: string; kubeconfig: string };
}

/** A person waits: less patience than a daemon has. */
const limits = { connectMs: 5_000, callMs: 20_000, triesMax: 3, retryAfterMaxMs: 2_000 };

const surroundings = (): Surroundings => ({ KUBECONFIG: environment("KUBECONFIG"), HOME: environment("HOME") });

/** True where a kubeconfig is at hand, named by a flag or not: then words that can speak of a node or of the cluster speak of the cluster. */
export function knowsCluster(flags: ClusterFlags): boolean {
  return kubeconfigFiles(flags, surroundings()).length > 0;
}

/**
 * Opens the cluster; nothing is asked yet, but for the program that a kubeconfig may name for its credentials.
 * @throws Fault "not-found" without a kubeconfig, "bad-config", "kube-unauthorized"
 */
export async function openCluster(flags: ClusterFlags, version: string): Promise<OpenCluster> {
  const chosen = chooseContext(flags, surroundings());
  const address = await addressOf(chosen);
  const kube = connect({ address, userAgent: `fairlead-cli/${version}`, limits });
  return { kube, place: { server: address.server, context: chosen.context, kubeconfig: chosen.file } };
}

async function addressOf(chosen: ChosenContext): Promise<KubeAddress> {
  try {
    // A person who wrote insecure-skip-tls-verify into the own file is followed, as kubectl does; daemons are not.
    return fromKubeconfig({ ...chosen, allowInsecure: true });
  } catch (error) {
    const unfollowed = isFault(error, "bad-config") ? error.data["unfollowed"] : undefined;
    const borrowed =
      Array.isArray(unfollowed) && unfollowed.length > 0 && unfollowed.every((key) => borrowedKeys.has(String(key)));
    if (!borrowed) throw error;
    return borrowedAddress(chosen);
  }
}
