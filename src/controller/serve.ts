// Serving a cluster: follows what it holds, stands for election, runs the loops while it leads, and ends in order.

import { hostname } from "node:os";
import type { Log } from "../base/log.ts";
import type { Loop } from "../base/loop.ts";
import { createMetrics, type Metrics } from "../base/metrics.ts";
import { reportPasses } from "../base/passes.ts";
import { uptimeMs } from "../base/uptime.ts";
import type { Kube } from "../kube/contract.ts";
import { type ElectionTimes, startElection } from "../kube/lease.ts";
import { startBreakGlass } from "./break-glass.ts";
import { followAll, type LoopName } from "./caches.ts";
import type { ControllerConfig } from "./config.ts";
import type { ControllerDeps } from "./deps.ts";
import { createReporter } from "./events.ts";
import { startMemberships } from "./memberships/memberships.ts";
import { createPolicyStatuses, startPolicyStatuses } from "./memberships/policy-statuses.ts";
import { startNetworkUnavailable } from "./network-unavailable.ts";
import { startNodeBlocks } from "./node-blocks.ts";
import { serveStatus } from "./status.ts";
import { startSweep } from "./sweep.ts";

/** How long a new leader waits for its caches; then it gives the lease back, for one that can see. */
const syncWithinMs = 60_000;

export interface ServeOptions {
  config: ControllerConfig;
  kube: Kube;
  log: Log;
  version: string;
  signal: AbortSignal;
  /** Told once it answers, with the port of its status. */
  onServing?: (port: number) => void;
}

/** Serves until `signal` aborts. @throws Fault "machine-unfit" where its status cannot be served; it stands for no election then */
export async function serve({ config, kube, log, version, signal: given, onServing }: ServeOptions): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([given, stop.signal]);
  const metrics = createMetrics();
  const instance = hostname();
  const loops = new Map<string, Loop>();
  const trigger = (name: LoopName): void => loops.get(name)?.trigger();
  const following = new AbortController();
  const caches = followAll(kube, trigger, following.signal);
  const events = createReporter({ kube, log, instance, now: Date.now });
  const deps: ControllerDeps = { kube, caches, config, events, log, now: Date.now, uptime: uptimeMs };
  const election = startElection({
    kube,
    lease: { namespace: config.lease.namespace, name: config.lease.name },
    identity: instance,
    times: electionTimes(config.lease.durationMs),
    signal,
    log,
    lead: (term) => lead(deps, { loops, metrics, term }),
  });
  try {
    const { address, port } = config.status;
    const status = await serveStatus({
      address,
      port,
      version,
      instance,
      caches,
      ledgerDeps: deps,
      leadership: () => election.status(),
      loops: () => [...loops.values()].map((loop) => loop.status()),
      metrics,
    });
    log.info({ address, port: status.port, instance }, "serving");
    onServing?.(status.port);
    await election.done;
    await status.close();
  } finally {
    stop.abort();
    await election.done;
    following.abort();
    await Promise.all(Object.values(caches).map((cache) => cache.done));
  }
  log.info("stopped");
}

interface Leading {
  loops: Map<string, Loop>;
  metrics: Metrics;
  term: AbortSignal;
}

/** One term: the loops run until it aborts, and have ended when this settles. */
async function lead(deps: ControllerDeps, { loops, metrics, term }: Leading): Promise<void> {
  // Whatever is written is decided by whole lists. Nodes get their blocks also where something of policy cannot be listed.
  const { nodes, networks, endpoints, ledgers } = deps.caches;
  for (const cache of [nodes, networks, endpoints, ledgers]) await cache.whenSynced(syncWithinMs, term);
  const onPass = reportPasses(metrics, deps.log);
  const statuses = createPolicyStatuses(deps, () => loops.get("policy-status")?.trigger());
  const started = [startNodeBlocks, startNetworkUnavailable, startSweep, startBreakGlass].map((start) =>
    start(deps, term, onPass),
  );
  started.push(startPolicyStatuses(statuses, term, onPass));
  started.push(startMemberships({ ...deps, statuses }, term, onPass));
  for (const loop of started) loops.set(loop.status().name, loop);
  await Promise.all([...loops.values()].map((loop) => loop.done));
  loops.clear();
}

/** A term ends while its last write can still be answered; the others wait longer than that. */
function electionTimes(durationMs: number): ElectionTimes {
  return { leaseMs: durationMs, renewDeadlineMs: (durationMs * 2) / 3, retryMs: durationMs / 8 };
}
