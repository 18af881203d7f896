// The node agent: reads its configuration, wires rooms and loops together, serves until it is told to stop.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseConfig } from "../base/config.ts";
import { describe, Fault } from "../base/fault.ts";
import { createLog, type Log } from "../base/log.ts";
import { type Loop, startLoop } from "../base/loop.ts";
import { createMetrics } from "../base/metrics.ts";
import { openPool } from "../ipam/pool.ts";
import { openSqliteStore } from "../ipam/sqlite-store.ts";
import { loadAddon } from "../kernel/addon.ts";
import type { Kernel } from "../kernel/contract.ts";
import { openKernel } from "../kernel/kernel.ts";
import { type AgentConfig, agentConfigSchema } from "./config.ts";
import { listenForShims } from "./connection.ts";
import { detach } from "./detach.ts";
import { createGate } from "./gate.ts";
import { type HostPlan, startHostLoop, syncHost } from "./host.ts";
import { install } from "./install.ts";
import { readBootId, recover, syncGuard } from "./recover.ts";
import { startReaper } from "./reaper.ts";
import { startReleases } from "./releases.ts";
import { answer, type CallDeps, refusal, rollBack } from "./server.ts";
import { serveStatus } from "./status.ts";
import { findUplink } from "./uplink.ts";

/** Longest wait for calls under way when the agent is told to stop. */
const drainMs = 10_000;

export interface AgentOptions {
  config: AgentConfig;
  kernel: Kernel;
  log: Log;
  version: string;
  /** The built shim that the agent installs. */
  shim: string;
  peerCred: (fd: number) => { pid: number; uid: number; gid: number };
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
  const kernel = openKernel({ log });
  try {
    await serve({
      config,
      kernel,
      log,
      version,
      shim: fileURLToPath(new URL("../../build/fairlead-cni", import.meta.url)),
      peerCred: (fd) => loadAddon().peerCred(fd),
      signal: stop.signal,
    });
  } finally {
    kernel.close();
  }
}

/** Serves pods until `signal` aborts; pods stay as they are then. The order of the steps is the order in which they may fail. */
export async function serve(options: AgentOptions): Promise<void> {
  const { config, kernel, log, signal } = options;
  const startedMs = performance.now();
  const { blocks } = config.addresses;
  const uplink = await findUplink(kernel, { blocks, vias: config.routes.map(({ via }) => via), mtu: config.mtu });
  const plan: HostPlan = { blocks, routes: config.routes, uplinkName: uplink.link.name };
  await syncHost({ kernel, plan, log });
  const store = openSqliteStore(join(config.paths.state, "fairlead.db"));
  try {
    const pool = openPool({ blocks, store });
    const metrics = createMetrics();
    const gate = createGate();
    const loops: Loop[] = [];
    const onPass = (pass: Parameters<typeof metrics.loop>[0]): void => {
      metrics.loop(pass);
      if (!pass.ok) log.error({ loop: pass.name, error: describe(pass.error) }, "pass failed; it is tried again");
    };
    const loopStop = new AbortController();
    const deps: CallDeps = {
      kernel,
      pool,
      uplink: () => uplink,
      log,
      signal,
      gate,
      metrics,
      onDoomed: () => reaper.trigger(),
    };
    const reaper = startReaper({ kernel, pool, log }, loopStop.signal, onPass);
    loops.push(reaper);
    await recover({ ...deps, bootId: await readBootId() });
    loops.push(startHostLoop({ kernel, plan, log }, loopStop.signal, onPass));
    loops.push(
      startLoop({ ...guardLoop, sync: () => syncGuard(pool, deps), signal: loopStop.signal, onPass }),
      await startReleases(
        {
          socket: config.paths.socket,
          release: (id) => gate.run(id.containerId, () => detach(id, deps)),
          log,
        },
        loopStop.signal,
        onPass,
      ),
    );
    const stopStatus = await serveStatus({
      socket: config.paths.socket,
      nodeName: config.node.name,
      version: options.version,
      startedMs,
      pool,
      uplink: () => uplink,
      blocks,
      loops: () => loops.map((loop) => loop.status()),
      gateDepth: () => gate.depth(),
      metrics,
    });
    const stopListening = await listenForShims({
      path: config.paths.socket,
      peerCred: options.peerCred,
      handle: (frame) => answer(frame, deps),
      refuse: (fault) => refusal(fault),
      undelivered: (frame, reply) => rollBack(frame, reply, deps),
      log,
    });
    await install({ shim: options.shim, cniBin: config.paths.cniBin, cniConf: config.paths.cniConf });
    log.info({ socket: config.paths.socket, uplink: uplink.link.name, mtu: uplink.mtu }, "serving");
    options.onServing?.();
    await aborted(signal);
    log.info({ reason: String(signal.reason) }, "stopping; pods keep running");
    const listening = stopListening();
    await within(drainMs, gate.close());
    await within(drainMs, listening);
    await stopStatus();
    loopStop.abort();
    await Promise.all(loops.map((loop) => loop.done));
    log.info("stopped");
  } finally {
    store.close();
  }
}

const guardLoop = { name: "guard", minMs: 200, retryMs: 500, retryMaxMs: 30_000, maxMs: 30_000 };

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) return done();
    signal.addEventListener("abort", () => done(), { once: true });
  });
}

/** Waits for `work`, but not longer. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([work, new Promise<void>((done) => (timer = setTimeout(done, ms)))]);
  clearTimeout(timer);
}
