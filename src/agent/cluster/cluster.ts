// The agent as a member of its cluster: follows its Node, its pods and all NodeNetworks, and writes the two objects that are its own.

import { isDeepStrictEqual } from "node:util";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import { pause } from "../../base/pause.ts";
import type { Pool } from "../../ipam/pool.ts";
import type { Blocks } from "../../ipam/store.ts";
import type { Cache, CacheStatus, Kube } from "../../kube/contract.ts";
import { type Node, nodes, type Pod, pods } from "../../kube/core-objects.ts";
import {
  type Endpoint,
  nodeEndpoints,
  nodeNetworks,
  policyBypassed,
  policyOpened,
  policyOpeningRefused,
} from "../../kube/objects.ts";
import type { Cidr } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import { breakGlassOf } from "../../policy/break-glass.ts";
import { sourceGuardAnnotation } from "../../policy/source-guard.ts";
import type { Ways } from "../place.ts";
import type { FindOwner, FindPod } from "../policy/pod-policy.ts";
import { nameReadBack } from "../rebuild.ts";
import { publishedEndpoints } from "./endpoints.ts";
import { createAdmission, isPodOf, type SandboxPod } from "./identity.ts";
import { createJudging, type Judging } from "./judging.ts";
import { keepObject } from "./keep.ts";
import { createKeptFaults, type KeptFaults } from "./kept-faults.ts";
import { faultsOf, givenBlocks, nodeOfAddress, wantedNetwork } from "./node-network.ts";
import { ownerOf } from "./owner.ts";
import { startPublishing, writing } from "./publish.ts";
import { type NodeFault, peerRoutes, type PeersSeen } from "./peers.ts";

export interface ClusterOptions {
  kube: Kube;
  nodeName: string;
  agentVersion: string;
  log: Log;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
}

/** What has changed in the cluster's view: the own Node or NodeNetwork, those of other nodes, what the own NodeEndpoints say or should say, what is said of a pod of this node, or anything. */
export type ClusterChange = "self" | "peers" | "endpoints" | "pods" | "all";

export interface Cluster {
  /** Blocks that the controller has given to this Node; none while it has not. */
  blocks: () => Blocks;
  /** Ways to all other nodes of this segment, for a node that owns `own`. */
  ways: (near: readonly Cidr[], own: Blocks) => Ways;
  /** The other node to which a block with that address is given, by name. */
  nodeOf: (address: Ip) => string | undefined;
  /** uid of this agent's Node; undefined until the API server has told. */
  nodeUid: () => string | undefined;
  /** Settles when the API server has said which Node this is, if any, when it could not be asked, or after `withinMs`. */
  firstWord: (withinMs: number) => Promise<void>;
  /** Calls back with each change; one listener at a time. */
  listen: (onChange: (change: ClusterChange) => void) => void;
  /** See `createAdmission`. */
  admit: (pod: SandboxPod) => Promise<Pod | undefined>;
  /** The object of a sandbox's pod, as the API server has told of it last. */
  podOf: FindPod;
  /** Whose an attachment is that was read back from its link. */
  ownerOf: FindOwner;
  /** All pods of this node have been listed. */
  podsKnown: () => boolean;
  /** The API server has the pod on this node, or has not been heard yet. */
  podLives: (pod: SandboxPod) => boolean;
  /** Starts to publish the attachments of the pool, until `signal` aborts. */
  publish: (pool: Pool, signal: AbortSignal) => Loop;
  /** Keeps this node's NodeNetwork. */
  reporting: Loop;
  /** What cannot be done for this node at present because of other nodes. */
  faults: () => readonly NodeFault[];
  /** Has the cluster hear what this node lacks for its blocks; undefined where it lacks nothing. */
  tell: (lacks: NodeFault | undefined) => void;
  /** Has the cluster hear by what pods of this node are judged. */
  judging: (now: Judging) => void;
  /** Has the cluster hear where policy denies nothing. */
  tellBroken: (faults: readonly NodeFault[]) => void;
  /** This agent's Node, as the API server told of it last. */
  ownNode: () => Node | undefined;
  caches: () => CacheStatus[];
  /** Settles when all following has ended, after `signal`. */
  done: Promise<unknown>;
}

/** What makes it another Node for us. */
const selfOf = (node: Node | undefined): string => `${node?.metadata.uid} ${node?.spec.providerID}`;

/** What policy asks of a pod. */
const policyFacts = (pod: Pod | undefined): unknown => [
  pod?.metadata.labels,
  pod?.metadata.annotations?.[sourceGuardAnnotation],
  pod?.spec,
  pod?.status.phase,
];

/** How often it is looked whether the API server has failed to answer: no event tells of that. */
const lookMs = 100;

/** Starts to follow the cluster; nothing is awaited. */
export function joinCluster(options: ClusterOptions): Cluster {
  const { kube, nodeName, agentVersion, log, signal, onPass } = options;
  let listener: (change: ClusterChange) => void = () => {};
  let routes: PeersSeen["routes"] = [];
  let publishing: Loop | undefined;
  const keptFaults = (...codes: readonly string[]): KeptFaults =>
    createKeptFaults(log, codes, () => reporting.trigger());
  const lacks = keptFaults("machine-unfit");
  const bypasses = keptFaults(policyBypassed);
  const broken = keptFaults(policyOpened, policyOpeningRefused);
  const unreached = keptFaults("block-overlap", "no-address", "other-segment");
  const judged = createJudging(bypasses, () => publishing?.trigger());
  /** What `routes` was made of; absent where a NodeNetwork has changed since. */
  let routesFor: string | undefined;
  const changed = (change: ClusterChange): void => {
    if (change !== "endpoints" && change !== "pods") routesFor = undefined;
    if (change === "self" || change === "all") reporting.trigger();
    listener(change);
  };

  const follow = { signal, onSynced: () => changed("all") };
  const self = kube.follow(nodes, {
    ...follow,
    fieldSelector: `metadata.name=${nodeName}`,
    onChange: ({ before, after }) => {
      if (selfOf(before) !== selfOf(after)) changed("self");
      if (breakGlassOf(before) !== breakGlassOf(after)) listener("pods");
    },
  });
  const networks = kube.follow(nodeNetworks, {
    ...follow,
    onChange: ({ before, after }) => {
      if ((after ?? before)?.metadata.name === nodeName) changed("self");
      else if (!isDeepStrictEqual(before?.status, after?.status)) changed("peers");
    },
  });
  const ownPods = kube.follow(pods, {
    ...follow,
    fieldSelector: `spec.nodeName=${nodeName}`,
    onChange: ({ before, after }) => {
      if (before?.metadata.uid !== after?.metadata.uid) changed("endpoints");
      else if (!isDeepStrictEqual(policyFacts(before), policyFacts(after))) changed("pods");
    },
  });
  const ownEndpoints = kube.follow(nodeEndpoints, {
    ...follow,
    fieldSelector: `metadata.name=${nodeName}`,
    onChange: () => changed("endpoints"),
  });

  const node = (): Node | undefined => self.get({ name: nodeName });
  const nodeUid = (): string | undefined => node()?.metadata.uid;
  const blocks = (): Cidr[] => givenBlocks(networks.get({ name: nodeName }), nodeUid());

  const podOf: FindPod = (sandbox) => {
    const pod = ownPods.get(sandbox);
    return pod !== undefined && isPodOf(sandbox, pod) ? pod : undefined;
  };

  const owner: FindOwner = (attachment) => {
    const published = ownEndpoints.get({ name: nodeName });
    return ownerOf(attachment, published?.nodeUid === nodeUid() ? published : undefined, ownPods.all());
  };

  const reporting = startLoop({
    name: "node-network",
    ...writing,
    sync: async () => {
      const own = node();
      if (own === undefined || !networks.synced()) return;
      await keepObject({
        kube,
        kind: nodeNetworks,
        name: nodeName,
        seen: () => networks.get({ name: nodeName }),
        wanted: (held) => {
          const before = faultsOf(held, own);
          const faults = [lacks, bypasses, broken, unreached].flatMap(({ told }) => told(before));
          return wantedNetwork(held, { node: own, agentVersion, faults }, new Date().toISOString());
        },
        signal,
      });
    },
    signal,
    onPass,
  });

  const ways: Cluster["ways"] = (near, own) => {
    const complete = networks.synced();
    // Asked for by several loops, and work of many milliseconds where there are a thousand nodes.
    const standing = `${near.join(" ")} / ${own.join(" ")}`;
    if (standing === routesFor) return { routes, complete, written: false };
    const seen = peerRoutes(networks.all(), { nodeName, blocks: own, near });
    routesFor = standing;
    unreached.now(seen.faults);
    routes = seen.routes;
    return { routes, complete, written: false };
  };

  return {
    blocks,
    ways,
    nodeUid,
    nodeOf: (address) => nodeOfAddress(networks.all(), nodeName, address),
    faults: unreached.held,
    tell: (fault) => lacks.now(fault === undefined ? [] : [fault]),
    judging: judged.now,
    tellBroken: broken.now,
    ownNode: node,
    reporting,
    firstWord: (withinMs) => untilHeard(self, withinMs, signal, (wake) => (listener = wake)),
    listen: (onChange) => {
      listener = onChange;
    },
    admit: createAdmission({ kube, cache: ownPods, nodeName, log, signal, clock: () => performance.now() }),
    podOf,
    ownerOf: owner,
    podsKnown: () => ownPods.synced(),
    podLives: (sandbox) => !ownPods.synced() || podOf(sandbox) !== undefined,
    publish: (pool, until) => {
      const endpoints = (): Endpoint[] => {
        // Before what was published of them is written over.
        nameReadBack(pool, owner, log);
        return publishedEndpoints(pool.all(), ownPods);
      };
      publishing = startPublishing({ ...options, signal: until }, { node, seen: ownEndpoints, endpoints, judged });
      return publishing;
    },
    caches: () => [self, networks, ownPods, ownEndpoints].map((cache) => cache.status()),
    done: Promise.all([self.done, networks.done, ownPods.done, ownEndpoints.done, reporting.done]),
  };
}

/** Settles when the cache holds something or has failed, or the time is over. */
async function untilHeard(
  { synced, status }: Pick<Cache<Node>, "synced" | "status">,
  withinMs: number,
  signal: AbortSignal,
  listen: (wake: () => void) => void,
): Promise<void> {
  const endMs = performance.now() + withinMs;
  const heard = (): boolean => synced() || status().failures > 0;
  while (!heard() && performance.now() < endMs && !signal.aborted) await pause(lookMs, signal, listen);
}
