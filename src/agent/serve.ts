// Serving the pods of one node: opens what is needed in the order in which it may fail, wires loops together, and ends in order.

import { join } from "node:path";
import { describe } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import { createMetrics, type Metrics } from "../base/metrics.ts";
import { within } from "../base/pause.ts";
import type { Pool } from "../ipam/pool.ts";
import type { Kernel } from "../kernel/contract.ts";
import { attachmentIdOf } from "./attach.ts";
import type { AgentConfig } from "./config.ts";
import { type Door, listenForShims } from "./connection.ts";
import { detach } from "./detach.ts";
import { syncDropIns } from "./drop-ins.ts";
import { createGate } from "./gate.ts";
import { startHostLoop, syncHost } from "./host.ts";
import { install } from "./install.ts";
import { createLinkIndexes } from "./link-indexes.ts";
import { startReaper } from "./reaper.ts";
import { readBootId, recover, syncGuard } from "./recover.ts";
import { rehearse } from "./rehearse.ts";
import { startReleases } from "./releases.ts";
import { startRepair } from "./repair.ts";
import { answer, type CallDeps, detachCallOf, refusal, rollBack } from "./server.ts";
import { openSockets, type Sockets } from "./sockets.ts";
import { openState } from "./state.ts";
import { serveStatus, statusSocket } from "./status.ts";
import { type KeptUplink, keepUplink } from "./uplink.ts";
import { startVanished } from "./vanished.ts";
import { watchNode } from "./watch.ts";

/** Longest wait for calls under way when the agent is told to stop. */
const drainMs = 10_000;

const slowLoop = { minMs: 200, retryMs: 500, retryMaxMs: 30_000, maxMs: 30_000 };

export interface AgentOptions {
  config: AgentConfig;
  kernel: Kernel;
  log: Log;
  version: string;
  /** The built shim that the agent installs. */
  shim: string;
  /** Lets callers in: the addon, which needs no privileges for it. */
  door: Door;
  signal: AbortSignal;
  /** Called once, when pods can be attached. */
  onServing?: () => void;
  /** Wall clock in ms; tests pass their own. */
  now?: () => number;
  /** False: the first pods wait while code is compiled. For tests that start many agents. */
  rehearsal?: boolean;
}

/** Serves pods until `signal` aborts; pods stay as they are then. */
export async function serve(options: AgentOptions): Promise<void> {
  const { config, kernel, log, signal, now = Date.now, rehearsal = true } = options;
  const { blocks } = config.addresses;
  const metrics = createMetrics();
  const loops = new Map<string, Loop>();
  const trigger = (name: string): void => loops.get(name)?.trigger();
  const uplink = await keepUplink(
    kernel,
    { blocks, vias: config.routes.map(({ via }) => via), mtu: config.mtu },
    ({ link, addresses, mtu }) => {
      log.warn(
        { uplink: link.name, addresses, mtu },
        "the uplink has changed: new pods follow, routes of living ones too",
      );
      for (const name of ["host", "repair"]) trigger(name);
    },
  );
  await syncHost(hostDeps(options, uplink, metrics));
  const { pool, store, setAside } = openState({
    file: join(config.paths.state, "fairlead.db"),
    nodeName: config.node.name,
    blocks,
    log,
    now,
  });
  if (setAside !== undefined) metrics.repaired("state file", 1);
  const loopStop = new AbortController();
  try {
    const deps: CallDeps = {
      kernel,
      log,
      signal,
      blocks,
      pool,
      metrics,
      statusMode: config.status,
      uplink: uplink.current,
      gate: createGate(),
      nextLinkIndexes: createLinkIndexes(await takenIndexes(kernel, pool)),
      onDoomed: () => trigger("reaper"),
      loops: () => [...loops.values()].map((loop) => loop.status()),
    };
    const onPass = reportPasses(metrics, log);
    const start = (loop: Loop): void => void loops.set(loop.status().name, loop);
    start(startReaper(deps, loopStop.signal, onPass));
    await recover({ ...deps, bootId: await readBootId(), now });
    for (const loop of backgroundLoops({ options, deps, uplink }, loopStop.signal, onPass)) start(loop);
    const unwatch = watchNode({ kernel, pool, uplink: uplink.current, trigger });
    try {
      if (rehearsal) await rehearse({ blocks, uplink: uplink.current(), log });
      const sockets = await listen(options, deps, { onReopened: () => trigger("releases"), loopStop, onPass });
      start(sockets.loop);
      await putInPlace(options);
      log.info({ socket: config.paths.socket, uplink: uplink.current().link.name }, "serving");
      options.onServing?.();

      await aborted(signal);
      log.info({ reason: String(signal.reason) }, "stopping; pods keep running");
      await endCalls(sockets, deps);
    } finally {
      unwatch();
    }
  } finally {
    loopStop.abort();
    await Promise.all([...loops.values()].map((loop) => loop.done));
    store.close();
  }
  log.info("stopped");
}

interface Parts {
  options: AgentOptions;
  deps: CallDeps;
  uplink: KeptUplink;
}

/** Everything that goes on behind the calls, but for the reaper, which the start itself needs. */
function backgroundLoops(
  { options, deps, uplink }: Parts,
  signal: AbortSignal,
  onPass: (pass: LoopPass) => void,
): Loop[] {
  const { config, log } = options;
  const { gate, pool, metrics } = deps;
  return [
    startHostLoop(hostDeps(options, uplink, metrics), signal, onPass),
    startLoop({ name: "guard", ...slowLoop, sync: () => syncGuard(pool, deps), signal, onPass }),
    startRepair(deps, signal, onPass),
    startVanished({ ...deps, clock: () => performance.now() }, signal, onPass),
    startLoop({ name: "uplink", ...slowLoop, sync: uplink.refresh, signal, onPass }),
    startLoop({ name: "install", ...slowLoop, sync: () => putInPlace(options), signal, onPass }),
    startReleases(
      {
        socket: config.paths.socket,
        release: (request) =>
          gate.run(request.containerId, () => detach(attachmentIdOf(request), deps, detachCallOf(request))),
        log,
      },
      signal,
      onPass,
    ),
  ];
}

function hostDeps(
  { config, kernel, log }: AgentOptions,
  uplink: KeptUplink,
  metrics: Metrics,
): Parameters<typeof syncHost>[0] {
  const plan = () => ({
    blocks: config.addresses.blocks,
    routes: config.routes,
    uplinkName: uplink.current().link.name,
  });
  return { kernel, plan, log, metrics };
}

/** Everything of ours on the host's disk beside the state; the conflist, which brings pods, last. */
async function putInPlace({ config: { host, paths }, shim }: AgentOptions): Promise<void> {
  await syncDropIns(paths.etc, host.dropIns);
  await install({ shim, cniBin: paths.cniBin, cniConf: paths.cniConf });
}

/** Every index that may be in use by a link of ours. */
async function takenIndexes(kernel: Kernel, pool: Pool): Promise<number[]> {
  const living = (await kernel.node.links()).map(({ index }) => index);
  return [
    ...living,
    ...pool.all().flatMap(({ attachment: { wire } }) => (wire === undefined ? [] : [wire.hostIndex, wire.podIndex])),
  ];
}

function reportPasses(metrics: Metrics, log: Log): (pass: LoopPass) => void {
  return (pass) => {
    metrics.loop(pass);
    if (!pass.ok) log.error({ loop: pass.name, error: describe(pass.error) }, "pass failed; it is tried again");
  };
}

interface Around {
  onReopened: () => void;
  loopStop: AbortController;
  onPass: (pass: LoopPass) => void;
}

/** Opens both sockets, the one that people look at first. */
function listen(options: AgentOptions, deps: CallDeps, { onReopened, loopStop, onPass }: Around): Promise<Sockets> {
  const { config, log, door, version } = options;
  const { socket } = config.paths;
  const status = {
    socket,
    nodeName: config.node.name,
    version,
    startedMs: performance.now(),
    pool: deps.pool,
    uplink: deps.uplink,
    blocks: config.addresses.blocks,
    loops: deps.loops,
    gateDepth: () => deps.gate.depth(),
    metrics: deps.metrics,
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
