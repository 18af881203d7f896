// A replica of the controller that a test steers: its passes are made one by one, whoever holds the lease, and its caches can be frozen.

import { createBreakGlassTeller } from "../../src/controller/break-glass.ts";
import { followAll, type LoopName } from "../../src/controller/caches.ts";
import type { Caches, ControllerDeps } from "../../src/controller/deps.ts";
import { createReporter } from "../../src/controller/events.ts";
import { createMembershipKeeper } from "../../src/controller/memberships/memberships.ts";
import { createPolicyStatuses } from "../../src/controller/memberships/policy-statuses.ts";
import { syncNetworkUnavailable } from "../../src/controller/network-unavailable.ts";
import { syncNodeBlocks } from "../../src/controller/node-blocks.ts";
import { createSweep } from "../../src/controller/sweep.ts";
import { silentLog } from "../../src/base/log.ts";
import { connect } from "../../src/kube/connect.ts";
import type { Cache, KubeObject, Meta, ObjectRef } from "../../src/kube/contract.ts";
import { until } from "../until.ts";
import { createLife, crossedKube, type Life } from "./crossing.ts";
import { createWorld, type World, type WorldConfig } from "./world.ts";

type ReplicaLoop = LoopName | "policy-status";

export interface Replica {
  /** What its loops are given. */
  deps: ControllerDeps;
  /** Settles when its caches hold what the server holds. */
  catchUp(): Promise<void>;
  /** Those of its caches that are named (all without a name) stay as they are from now on; with `false` they live again. */
  freeze(on?: boolean, ...caches: (keyof Caches)[]): void;
  /** These hear nothing more until they are listed anew, as where a connection has died in silence. */
  deafen(...caches: (keyof Caches)[]): void;
  /** One pass of each loop. @throws what a loop threw */
  pass(): Promise<void>;
  /** One pass of that loop. */
  passOf(loop: ReplicaLoop): Promise<void>;
  close(): Promise<void>;
}

/** Starts a replica on the world's server. Its clock stands where `world.nowMs` says. */
export async function startReplica(world: World, life: Pick<Life, "cross">): Promise<Replica> {
  const stop = new AbortController();
  const plain = connect({ address: { server: world.server.url }, userAgent: "replica" });
  const log = silentLog();
  const live = followAll(plain, () => {}, stop.signal);
  const frozen = {
    nodes: freezable(live.nodes),
    networks: freezable(live.networks),
    endpoints: freezable(live.endpoints),
    ledgers: freezable(live.ledgers),
    pods: freezable(live.pods),
    namespaces: freezable(live.namespaces),
    serviceAccounts: freezable(live.serviceAccounts),
    networkPolicies: freezable(live.networkPolicies),
    groups: freezable(live.groups),
    bindings: freezable(live.bindings),
    groupPolicies: freezable(live.groupPolicies),
    slices: freezable(live.slices),
  };
  const caches: Caches = {
    nodes: frozen.nodes.cache,
    networks: frozen.networks.cache,
    endpoints: frozen.endpoints.cache,
    ledgers: frozen.ledgers.cache,
    pods: frozen.pods.cache,
    namespaces: frozen.namespaces.cache,
    serviceAccounts: frozen.serviceAccounts.cache,
    networkPolicies: frozen.networkPolicies.cache,
    groups: frozen.groups.cache,
    bindings: frozen.bindings.cache,
    groupPolicies: frozen.groupPolicies.cache,
    slices: frozen.slices.cache,
  };
  const kube = crossedKube(plain, life.cross);
  const now = (): number => world.nowMs;
  const deps: ControllerDeps = {
    kube,
    caches,
    config: world.config,
    events: createReporter({ kube, log, instance: "replica", now }),
    log,
    now,
    uptime: now,
  };
  const sweep = createSweep(deps);
  const statuses = createPolicyStatuses(deps);
  const memberships = createMembershipKeeper({ ...deps, statuses });
  const breakGlass = createBreakGlassTeller(deps);
  // A leader whose term is over and who does not look: no write of it is stopped by a signal.
  const { signal } = new AbortController();
  const loops: Readonly<Record<ReplicaLoop, () => Promise<void>>> = {
    "node-blocks": () => syncNodeBlocks(deps, signal),
    "network-unavailable": () => syncNetworkUnavailable(deps, signal),
    sweep: () => sweep.sync(signal),
    memberships: () => memberships.sync(signal),
    "policy-status": () => statuses.sync(signal),
    "break-glass": () => breakGlass.sync(signal),
  };
  const replica: Replica = {
    deps,
    catchUp: () => until("a replica's caches hold what the server holds", () => isCaughtUp(world, live)),
    freeze: (on = true, ...names) => {
      for (const name of names.length > 0 ? names : cacheNames) frozen[name].freeze(on);
    },
    deafen: (...names) => {
      for (const name of names) frozen[name].deafen();
    },
    passOf: (loop) => loops[loop](),
    pass: async () => {
      const failures: unknown[] = [];
      for (const pass of Object.values(loops)) await pass().catch((error: unknown) => failures.push(error));
      if (failures.length > 0) throw failures[0];
    },
    close: async () => {
      stop.abort();
      await Promise.all(Object.values(live).map((cache) => cache.done));
      await plain.close();
    },
  };
  await replica.catchUp();
  return replica;
}

interface Freezable<T> {
  cache: Cache<T>;
  freeze(on: boolean): void;
  /** As `freeze`, until the cache has been told to renew and has its list. */
  deafen(): void;
}

/** The cache, which `freeze` lets stand as it is. */
function freezable<T extends KubeObject>(cache: Cache<T>): Freezable<T> {
  let frozen: readonly T[] | undefined;
  let deaf = false;
  /** How many lists there are when it hears again. */
  let hearsAt = Infinity;
  const now = (): readonly T[] | undefined => {
    if (cache.status().lists >= hearsAt) [frozen, deaf, hearsAt] = [undefined, false, Infinity];
    return frozen;
  };
  const freeze = (on: boolean): void => void (frozen = on ? (frozen ?? [...cache.all()]) : undefined);
  return {
    cache: {
      ...cache,
      all: () => now() ?? cache.all(),
      get: (ref) => {
        const held = now();
        return held === undefined ? cache.get(ref) : held.find(({ metadata }) => isNamed(metadata, ref));
      },
      renew: () => {
        if (deaf) hearsAt = cache.status().lists + 1;
        cache.renew();
      },
    },
    freeze,
    deafen: () => {
      deaf = true;
      freeze(true);
    },
  };
}

const isNamed = ({ name, namespace }: Meta, ref: ObjectRef): boolean =>
  name === ref.name && (namespace ?? "") === (ref.namespace ?? "");

/** Where the store has what a cache follows. */
const shelves: Readonly<Record<keyof Caches, string>> = {
  nodes: "/nodes",
  networks: "fairlead.dev/nodenetworks",
  endpoints: "fairlead.dev/nodeendpoints",
  ledgers: "fairlead.dev/blockledgers",
  pods: "/pods",
  namespaces: "/namespaces",
  serviceAccounts: "/serviceaccounts",
  networkPolicies: "networking.k8s.io/networkpolicies",
  groups: "fairlead.dev/securitygroups",
  bindings: "fairlead.dev/securitygroupbindings",
  groupPolicies: "vpcresources.k8s.aws/securitygrouppolicies",
  slices: "fairlead.dev/membershipslices",
};
const cacheNames = Object.keys(shelves) as (keyof Caches)[];

function isCaughtUp({ server }: World, caches: Caches): boolean {
  const pairs = cacheNames.map((name): [string, Cache<KubeObject>] => [shelves[name], caches[name]]);
  return pairs.every(([shelf, cache]) => {
    const stored = server.store.list(shelf) ?? [];
    const keys = new Set(stored.map(({ key }) => key));
    const known = new Map(
      cache.all().map(({ metadata: { namespace, name, resourceVersion } }) => {
        const key = namespace === undefined ? name : `${namespace}/${name}`;
        return [key, resourceVersion ?? ""];
      }),
    );
    const unheard = stored.filter(({ key, version }) => known.get(key) !== String(version));
    return (
      cache.synced() &&
      unheard.length === (cache.status().unreadable ?? 0) &&
      known.keys().every((key) => keys.has(key))
    );
  });
}

/** A world with one replica that leads; both are closed in the end. */
export async function withLeader(
  config: WorldConfig,
  work: (world: World, leader: Replica) => Promise<void>,
): Promise<void> {
  const world = await createWorld(config);
  try {
    const leader = await startReplica(world, createLife());
    try {
      await work(world, leader);
    } finally {
      await leader.close();
    }
  } finally {
    await world.close();
  }
}
