// Policy by the word of a cluster's API server, which hears in turn what came of it.

import type { Log } from "../../base/log.ts";
import type { Kube } from "../../kube/contract.ts";
import { startEvents } from "../../kube/events.ts";
import { breakGlassOf } from "../../policy/break-glass.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { createDenialEvents } from "../flows/denial-events.ts";
import { createNames } from "../flows/names.ts";
import { heardWithinMs } from "./heard.ts";
import { followPolicy } from "./sources.ts";
import type { FollowWord } from "./word.ts";

export interface ClusterWordDeps {
  kube: Kube;
  cluster: Pick<Cluster, "podOf" | "ownerOf" | "podsKnown" | "ownNode" | "judging" | "tellBroken" | "nodeOf">;
  nodeName: string;
  keys: PolicyKeys;
  /** Longest silence of a watch that is believed without asking; tests pass their own. */
  silentMaxMs?: number | undefined;
  log: Log;
  signal: AbortSignal;
}

/** The word of the cluster that `cluster` follows. */
export function wordOfCluster(deps: ClusterWordDeps): FollowWord {
  const { kube, cluster, nodeName, keys, silentMaxMs = heardWithinMs, log, signal } = deps;
  const { podOf, ownerOf, podsKnown, ownNode, judging, tellBroken, nodeOf } = cluster;
  const clock = (): number => performance.now();
  const teller = { component: "fairlead-agent", instance: nodeName, log, signal };
  let hasTold = false;
  return ({ kept, onChange }) => ({
    source: followPolicy({ kube, keys, podsKnown, silentMaxMs, log, signal, onChange }),
    findPod: podOf,
    findOwner: ownerOf,
    nodeBreakGlass: () => {
      const told = ownNode();
      hasTold ||= told !== undefined;
      return hasTold ? breakGlassOf(told) : kept?.nodeBreakGlass;
    },
    judging,
    onBroken: tellBroken,
    otherPodAt: createNames({ kube, nodeOf, log, signal, clock }),
    onDenied: createDenialEvents({ events: startEvents({ kube, ...teller }), nodeName, clock }),
  });
}
