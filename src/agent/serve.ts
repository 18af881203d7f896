// Serving the pods of one node: opens what is needed in the order in which it may fail, wires loops together, and ends in order.

import { Fault } from "../base/fault.ts";
import type { Loop, LoopPass } from "../base/loop.ts";
import { createMetrics, type Metrics } from "../base/metrics.ts";
import { reportPasses } from "../base/passes.ts";
import { within } from "../base/pause.ts";
import type { Pool } from "../ipam/pool.ts";
import type { Kernel } from "../kernel/contract.ts";
import { probeMachine } from "../kernel/features.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { tellingCluster } from "./cluster/fit.ts";
import { podOf } from "./attach.ts";
import { backgroundLoops, hostDeps, keepInPlace, masqueradeOf, policingOf, releasesDeps } from "./background.ts";
import { hasIpv6 } from "./config.ts";
import { listenForShims } from "./connection.ts";
import { diagnose } from "./diagnose.ts";
import { createGate } from "./gate.ts";
import { syncHost } from "./host.ts";
import { createLinkIndexes } from "./link-indexes.ts";
import type { KeptMasquerade } from "./masquerade.ts";
import { createObstacleWatch, type Obstacle } from "./obstacles.ts";
import type { AgentOptions } from "./options.ts";
import { startReaper } from "./reaper.ts";
import { readBootId, recover } from "./recover.ts";
import { rehearse } from "./rehearse.ts";
import { answer, type CallDeps, refusal, rollBack } from "./server.ts";
import type { Policing } from "./policy/police.ts";
import { type Releases, startReleases } from "./releases.ts";
import { openSockets, type Sockets } from "./sockets.ts";
import type { Place } from "./place.ts";
import { followCluster, type Station, takeStation } from "./station.ts";
import { serveStatus, statusSocket } from "./status.ts";
import { type KeptUplink, keepUplink, uplinkOptions } from "./uplink.ts";
import { watchNode } from "./watch.ts";

/** Longest wait for calls under way when the agent is told to stop. */
const drainMs = 10_000;
/** How long a start waits for DELs that came while no agent answered. */
const releasesWithinMs = 5_000;

/** Serves pods until `signal` aborts; pods stay as they are then. @throws Fault "node-replaced" where its Node is another one now */
export async function serve(given: AgentOptions): Promise<void> {
  const { log } = given;
  const metrics = createMetrics();
  const onPass = reportPasses(metrics, log);
  const stop = new AbortController();
  const options = { ...given, signal: AbortSignal.any([given.signal, stop.signal]) };
  let station: Station | undefined;
  try {
    station = await takeStation(options, onPass);
    if (station.ready) await serveFrom(station, { options, metrics, onPass, stop: (why) => stop.abort(why) });
  } finally {
    stop.abort();
    await station?.cluster?.done;
    station?.store.close();
  }
  if (stop.signal.reason instanceof Fault) throw stop.signal.reason;
  log.info("stopped");
}

interface Serving {
  options: AgentOptions;
  metrics: Metrics;
  onPass: (pass: LoopPass) => void;
  /** Ends all of it. */
  stop: (why: Fault) => void;
}

async function serveFrom(station: Station, { options, metrics, onPass, stop }: Serving): Promise<void> {
  const { kernel, log, signal, now = Date.now, rehearsal = true } = options;
  const { pool, place, cluster } = station;
  const loops = new Map<string, Loop>();
  const trigger = (name: string): void => loops.get(name)?.trigger();
  const start = (loop: Loop): void => void loops.set(loop.status().name, loop);
  const uplink = await watchedUplink(options, { place, cluster, trigger });
  const host = hostDeps(options, { place, uplink, metrics });
  await syncHost(host);
  if (station.setAside !== undefined) metrics.repaired("state file", 1);
  const loopStop = new AbortController();
  let releases: Releases | undefined;
  let policing: Policing | undefined;
  try {
    policing = await policingOf(options, { station, metrics, signal: loopStop.signal, onPass });
    const deps = createDeps(options, {
      pool,
      metrics,
      uplink,
      admit: admittedBy(cluster),
      policy: policing.policy,
      podLives: cluster?.podLives ?? (() => false),
      nextLinkIndexes: createLinkIndexes(await takenIndexes(kernel, pool)),
      onDoomed: () => trigger("reaper"),
      releasesApplied: async (containerId) => releases?.applied(containerId),
      loops: () =>
        [...loops.values(), ...(cluster === undefined ? [] : [cluster.reporting])].map((loop) => loop.status()),
    });
    start(startReaper(deps, loopStop.signal, onPass));
    await recover({ ...deps, bootId: await readBootId(), now });
    for (const loop of policing.begin()) start(loop);
    releases = startReleases(releasesDeps(options, deps), loopStop.signal, onPass);
    start(releases.loop);
    await within(releasesWithinMs, releases.applied()); // what is left then holds up ADDs of the same containers alone
    const obstacles = createObstacleWatch({ kernel, log });
    const masquerade = masqueradeOf(options, { place, uplink, metrics });
    const parts = { options, deps, host, uplink, obstacles, masquerade };
    const follow = { pool, log, trigger, podsChanged: policing.podsChanged, stop, signal: loopStop.signal, onPass };
    const following = cluster === undefined ? [] : followCluster(cluster, follow);
    for (const loop of [...backgroundLoops(parts, loopStop.signal, onPass), ...following]) start(loop);
    const unwatch = watchNode({ kernel, pool, uplink: uplink.current, trigger });
    try {
      if (rehearsal) await rehearse({ blocks: pool.blocks(), uplink: uplink.current(), log });
      const sockets = await listen(options, deps, {
        obstacles: obstacles.found,
        masquerade: masquerade.status,
        cluster,
        policing,
        onReopened: () => trigger("releases"),
        loopStop,
        onPass,
      });
      start(sockets.loop);
      try {
        start(await keepInPlace(options, loopStop.signal, onPass));
        log.info({ socket: options.config.paths.socket, uplink: uplink.current().link.name }, "serving");
        options.onServing?.();
        await aborted(signal);
        log.info({ reason: String(signal.reason) }, "stopping; pods keep running");
      } finally {
        await endCalls(sockets, deps);
      }
    } finally {
      unwatch();
    }
  } finally {
    loopStop.abort();
    await Promise.all([...loops.values()].map((loop) => loop.done));
    await policing?.ended();
  }
}

/** The uplink, and who has to know when it changes, or lacks what the blocks need. */
async function watchedUplink(
  { config, kernel, log }: AgentOptions,
  { place, cluster, trigger }: { place: Place; cluster: Cluster | undefined; trigger: (loop: string) => void },
): Promise<KeptUplink> {
  const kept = await keepUplink(kernel, uplinkOptions(config, place.blocks), ({ link, addresses: own, mtu }) => {
    log.warn(
      { uplink: link.name, addresses: own, mtu },
      "the uplink has changed: new pods follow, routes of living ones too",
    );
    for (const name of ["host", "repair"]) trigger(name);
  });
  return cluster === undefined ? kept : { ...kept, refresh: tellingCluster(cluster, kept.refresh) };
}

type Made = Pick<
  CallDeps,
  "pool" | "policy" | "metrics" | "admit" | "podLives" | "nextLinkIndexes" | "onDoomed" | "loops" | "releasesApplied"
> & {
  uplink: KeptUplink;
};

function createDeps({ config, kernel, log, signal }: AgentOptions, { uplink, ...made }: Made): CallDeps {
  return {
    kernel,
    log,
    signal,
    statusMode: config.status,
    uplink: uplink.current,
    gate: createGate(),
    ...made,
  };
}

/** Every index that may be in use by a link of ours. */
async function takenIndexes(kernel: Kernel, pool: Pool): Promise<number[]> {
  const living = (await kernel.node.links()).map(({ index }) => index);
  return [
    ...living,
    ...pool.all().flatMap(({ attachment: { wire } }) => (wire === undefined ? [] : [wire.hostIndex, wire.podIndex])),
  ];
}

interface Around {
  obstacles: () => readonly Obstacle[];
  masquerade: KeptMasquerade["status"];
  cluster: Cluster | undefined;
  policing: Policing;
  onReopened: () => void;
  loopStop: AbortController;
  onPass: (pass: LoopPass) => void;
}

/** Opens both sockets, the one that people look at first. */
function listen(
  options: AgentOptions,
  deps: CallDeps,
  { obstacles, masquerade, cluster, policing, onReopened, loopStop, onPass }: Around,
): Promise<Sockets> {
  const { config, kernel, log, door, version, shim } = options;
  const { socket } = config.paths;
  const status = {
    socket,
    nodeName: config.node.name,
    version,
    startedMs: performance.now(),
    pool: deps.pool,
    uplink: deps.uplink,
    loops: deps.loops,
    gateDepth: () => deps.gate.depth(),
    metrics: deps.metrics,
    kernelCalls: () => kernel.callsUnderWay(),
    masquerade,
    caches: () => [...(cluster?.caches() ?? []), ...policing.caches()],
    policing,
    diagnose: () =>
      diagnose({
        ...deps,
        config,
        shim,
        obstacles,
        masquerade,
        policy: policing.report,
        ...(cluster === undefined ? {} : { cluster }),
        features: () => probeMachine({ ipv6: hasIpv6(deps.pool.blocks()) }),
      }),
  };
  const shims = {
    path: socket,
    door,
    handle: (frame: Parameters<typeof answer>[0]) => answer(frame, deps),
    refuse: refusal,
    undelivered: (...[frame, reply]: [Parameters<typeof rollBack>[0], Parameters<typeof rollBack>[1]]) =>
      rollBack(frame, reply, deps),
    log,
  };
  const sockets = [
    { path: statusSocket(socket), open: () => serveStatus(status) },
    { path: socket, open: () => listenForShims(shims) },
  ];
  return openSockets({ sockets, onReopened, log, metrics: deps.metrics }, loopStop.signal, onPass);
}

/** No new calls; those under way have a bounded time, and what is left over is taken back by the next start. */
async function endCalls(sockets: Sockets, { gate, log }: CallDeps): Promise<void> {
  const inTime = await within(
    drainMs,
    sockets.stop().then(() => gate.close()),
  );
  if (!inTime) log.error("calls were still under way; the next start takes them back");
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) return done();
    signal.addEventListener("abort", () => done(), { once: true });
  });
}

/** Sandboxes of pods are held against the cluster's; others, and all outside a cluster, are taken as they are. */
function admittedBy(cluster: Cluster | undefined): CallDeps["admit"] {
  return async (request) => {
    const { pod } = podOf(request);
    return pod === undefined ? undefined : cluster?.admit(pod);
  };
}
