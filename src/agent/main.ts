// The node agent: reads its configuration, wires rooms and loops together, serves until it is told to stop.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseConfig } from "../base/config.ts";
import { describe, Fault } from "../base/fault.ts";
import { createLog, type Log } from "../base/log.ts";
import { type Loop, type LoopPass, type LoopStatus, startLoop } from "../base/loop.ts";
import { createMetrics, type Metrics } from "../base/metrics.ts";
import { within } from "../base/pause.ts";
import { openPool, type Pool } from "../ipam/pool.ts";
import { openSqliteStore } from "../ipam/sqlite-store.ts";
import { loadAddon } from "../kernel/addon.ts";
import type { Kernel } from "../kernel/contract.ts";
import { probeMachine } from "../kernel/features.ts";
import { openKernel } from "../kernel/kernel.ts";
import { cidrFamily } from "../net/cidr.ts";
import { attachmentIdOf } from "./attach.ts";
import { type AgentConfig, agentConfigSchema } from "./config.ts";
import { type Door, listenForShims, type StopListening } from "./connection.ts";
import { detach } from "./detach.ts";
import { createGate } from "./gate.ts";
import { type HostPlan, startHostLoop, syncHost } from "./host.ts";
import { install } from "./install.ts";
import { createLinkIndexes, type NextLinkIndexes } from "./link-indexes.ts";
import { readBootId, recover, syncGuard } from "./recover.ts";
import { startReaper } from "./reaper.ts";
import { rehearse } from "./rehearse.ts";
import { startReleases } from "./releases.ts";
import { answer, type CallDeps, detachCallOf, refusal, rollBack } from "./server.ts";
import { serveStatus } from "./status.ts";
import { findUplink, type Uplink } from "./uplink.ts";

/** Longest wait for calls under way when the agent is told to stop. */
const drainMs = 10_000;

const guardLoop = { name: "guard", minMs: 200, retryMs: 500, retryMaxMs: 30_000, maxMs: 30_000 };

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
}

/** Runs `fairlead agent`: reads the file, prints what it understood, serves until SIGTERM or SIGINT. */
export async function runAgent({ configFile, version }: { configFile: string; version: string }): Promise<void> {
  const text = await readFile(configFile, "utf8").catch((cause: unknown) => {
    throw new Fault("bad-config", `cannot read the configuration ${configFile}`, { cause });
  });
  const config = parseConfig(agentConfigSchema, text, configFile);
  const log = createLog("fairlead-agent", { level: config.log.level });
  log.info({ version, config }, "configuration");
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort(name));
  await refuseUnfitMachine(config, log);
  const kernel = openKernel({ log });
  try {
    await serve({
      config,
      kernel,
      log,
      version,
      shim: fileURLToPath(new URL("../../build/fairlead-cni", import.meta.url)),
      door: loadAddon(),
      signal: stop.signal,
    });
  } finally {
    kernel.close();
  }
}

/** @throws Fault "machine-unfit": the first thing that this machine lacks, and what to do; what comes after often hangs on it. */
async function refuseUnfitMachine(config: AgentConfig, log: Log): Promise<void> {
  const reports = await probeMachine({ ipv6: config.addresses.blocks.some((block) => cidrFamily(block) === 6) });
  const lacking = reports.filter(({ ok }) => !ok);
  const first = lacking.find(({ needed }) => needed);
  if (first !== undefined) throw new Fault("machine-unfit", first.message);
  for (const { feature, message } of lacking) log.info({ feature }, message);
}

/** Serves pods until `signal` aborts; pods stay as they are then. The order of the steps is the order in which they may fail. */
export async function serve(options: AgentOptions): Promise<void> {
  const { config, kernel, log, signal } = options;
  const { blocks } = config.addresses;
  const uplink = await findUplink(kernel, { blocks, vias: config.routes.map(({ via }) => via), mtu: config.mtu });
  const plan: HostPlan = { blocks, routes: config.routes, uplinkName: uplink.link.name };
  await syncHost({ kernel, plan, log });
  const store = openSqliteStore(join(config.paths.state, "fairlead.db"));
  const loopStop = new AbortController();
  const loops: Loop[] = [];
  try {
    const metrics = createMetrics();
    const pool = openPool({ blocks, store });
    const nextLinkIndexes = createLinkIndexes(await takenIndexes(kernel, pool));
    const deps = createDeps({
      options,
      pool,
      uplink,
      metrics,
      nextLinkIndexes,
      onDoomed: () => reaper.trigger(),
      loops: () => loops.map((loop) => loop.status()),
    });
    const onPass = reportPasses(metrics, log);
    const reaper = startReaper({ kernel, pool, log }, loopStop.signal, onPass);
    loops.push(reaper);
    await recover({ ...deps, bootId: await readBootId() });
    loops.push(
      startHostLoop({ kernel, plan, log }, loopStop.signal, onPass),
      startLoop({ ...guardLoop, sync: () => syncGuard(pool, deps), signal: loopStop.signal, onPass }),
      await startReleases(
        {
          socket: config.paths.socket,
          release: (request) =>
            deps.gate.run(request.containerId, () => detach(attachmentIdOf(request), deps, detachCallOf(request))),
          log,
        },
        loopStop.signal,
        onPass,
      ),
    );
    await rehearse({ blocks, uplink, log });
    const stopSockets = await openSockets(options, deps, loops);
    await install({ shim: options.shim, cniBin: config.paths.cniBin, cniConf: config.paths.cniConf });
    log.info({ socket: config.paths.socket, uplink: uplink.link.name, mtu: uplink.mtu }, "serving");
    options.onServing?.();

    await aborted(signal);
    log.info({ reason: String(signal.reason) }, "stopping; pods keep running");
    await stopSockets();
  } finally {
    loopStop.abort();
    await Promise.all(loops.map((loop) => loop.done));
    store.close();
  }
  log.info("stopped");
}

interface Parts {
  options: AgentOptions;
  pool: Pool;
  uplink: Uplink;
  metrics: Metrics;
  nextLinkIndexes: NextLinkIndexes;
  onDoomed: () => void;
  loops: () => LoopStatus[];
}

function createDeps({ options, uplink, ...parts }: Parts): CallDeps {
  const { config, kernel, log, signal } = options;
  return {
    kernel,
    log,
    signal,
    blocks: config.addresses.blocks,
    statusMode: config.status,
    uplink: () => uplink,
    gate: createGate(),
    ...parts,
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

function reportPasses(metrics: Metrics, log: Log): (pass: LoopPass) => void {
  return (pass) => {
    metrics.loop(pass);
    if (!pass.ok) log.error({ loop: pass.name, error: describe(pass.error) }, "pass failed; it is tried again");
  };
}

/** Opens both sockets; the result closes them, after the calls under way have ended. */
async function openSockets(options: AgentOptions, deps: CallDeps, loops: readonly Loop[]): Promise<StopListening> {
  const { config, log, door, version } = options;
  const stopStatus = await serveStatus({
    socket: config.paths.socket,
    nodeName: config.node.name,
    version,
    startedMs: performance.now(),
    pool: deps.pool,
    uplink: deps.uplink,
    blocks: config.addresses.blocks,
    loops: () => loops.map((loop) => loop.status()),
    gateDepth: () => deps.gate.depth(),
    metrics: deps.metrics,
  });
  const stopCni = await listenForShims({
    path: config.paths.socket,
    door,
    handle: (frame) => answer(frame, deps),
    refuse: (fault) => refusal(fault),
    undelivered: (frame, reply) => rollBack(frame, reply, deps),
    log,
  });
  return async () => {
    const closed = stopCni();
    if (!(await within(drainMs, deps.gate.close())))
      log.error("calls were still under way; the next start takes them back");
    await within(drainMs, closed);
    await stopStatus();
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) return done();
    signal.addEventListener("abort", () => done(), { once: true });
  });
}
