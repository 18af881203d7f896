// What the controller follows in the API, and which changes ask which loop for a pass.

import type { Cache, CacheChange, Kind, Kube, KubeObject } from "../kube/contract.ts";
import { type Node, nodes, type Pod, pods } from "../kube/core-objects.ts";
import { blockLedgers, nodeEndpoints, nodeNetworks } from "../kube/objects.ts";
import {
  membershipSlices,
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "../kube/policy-objects.ts";
import { breakGlassOf } from "../policy/break-glass.ts";
import { hasEnded } from "../policy/policy-pod.ts";
import type { Caches } from "./deps.ts";
import { viewOf } from "./node-view.ts";

const loopNames = ["node-blocks", "network-unavailable", "sweep", "memberships", "break-glass"] as const;
export type LoopName = (typeof loopNames)[number];

/** Starts to follow; `trigger` asks a loop for a pass, where it runs. */
export function followAll(kube: Kube, trigger: (loop: LoopName) => void, signal: AbortSignal): Caches {
  const all = (): void => {
    for (const name of loopNames) trigger(name);
  };
  const onSynced = all;
  const forMemberships = (): void => trigger("memberships");
  const followPolicy = <T extends KubeObject>(kind: Kind<T>): Cache<T> =>
    kube.follow(kind, { signal, onSynced, onChange: forMemberships });
  return {
    nodes: kube.follow(nodes, {
      signal,
      onSynced,
      onChange: (change) => {
        if (matters(change)) all();
        else if (breakGlassOf(change.before) !== breakGlassOf(change.after)) {
          trigger("break-glass");
          forMemberships();
        }
      },
    }),
    networks: kube.follow(nodeNetworks, { signal, onSynced, onChange: all }),
    endpoints: kube.follow(nodeEndpoints, {
      signal,
      onSynced,
      onChange: ({ before, after }) => {
        if (before?.nodeUid !== after?.nodeUid) trigger("sweep");
        forMemberships();
      },
    }),
    ledgers: kube.follow(blockLedgers, {
      signal,
      onSynced,
      onChange: () => {
        trigger("node-blocks");
        trigger("sweep");
      },
    }),
    pods: kube.follow(pods, {
      signal,
      onSynced,
      onChange: (change) => {
        if (decides(change)) forMemberships();
      },
    }),
    namespaces: kube.follow(namespaces, {
      signal,
      onSynced,
      onChange: () => {
        forMemberships();
        trigger("break-glass");
      },
    }),
    serviceAccounts: followPolicy(serviceAccounts),
    networkPolicies: followPolicy(networkPolicies),
    groups: followPolicy(securityGroups),
    bindings: followPolicy(securityGroupBindings),
    groupPolicies: kube.follow(securityGroupPolicies, {
      signal,
      onSynced,
      onChange: forMemberships,
      mayBeMissing: true,
    }),
    slices: followPolicy(membershipSlices),
  };
}

/** Kubelets write pods' statuses all the time; of most of it no membership depends. */
function decides({ before, after }: CacheChange<Pod>): boolean {
  return before === undefined || after === undefined || decisiveOf(before) !== decisiveOf(after);
}

function decisiveOf({ metadata, spec, status }: Pod): string {
  return JSON.stringify([metadata.uid, metadata.labels, spec, hasEnded({ status })]);
}

/** Kubelets write their Nodes all the time; most of it is nothing to us. */
function matters({ before, after }: CacheChange<Node>): boolean {
  return before === undefined || after === undefined || factsOf(before) !== factsOf(after);
}

function factsOf(node: Node): string {
  const { uid, leaving, podCidrs, malformed, addresses } = viewOf(node);
  const condition = node.status.conditions?.find(({ type }) => type === "NetworkUnavailable");
  return JSON.stringify([uid, leaving, podCidrs, malformed, addresses, condition?.status, condition?.reason]);
}
