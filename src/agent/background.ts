// What goes on behind the calls: every background activity of the agent but the reaper and the sockets, which its start needs.

import { createBrake } from "../base/brake.ts";
import { type Loop, type LoopPass, restOf, startLoop } from "../base/loop.ts";
import type { Metrics } from "../base/metrics.ts";
import { attachmentIdOf } from "./attach.ts";
import { detach } from "./detach.ts";
import { syncDropIns } from "./drop-ins.ts";
import { type HostDeps, startHostLoop, waysSettleMs } from "./host.ts";
import { install } from "./install.ts";
import { type KeptMasquerade, keepMasquerade, startMasquerade } from "./masquerade.ts";
import type { createObstacleWatch } from "./obstacles.ts";
import { syncGuard } from "./recover.ts";
import type { ReleasesDeps } from "./releases.ts";
import { startRepair } from "./repair.ts";
import type { AgentOptions } from "./options.ts";
import { startOwnMemory } from "./own-memory.ts";
import type { Place } from "./place.ts";
import { wordOfCluster } from "./policy/cluster-word.ts";
import { wordOfDirectory } from "./policy/directory-word.ts";
import { type Policing, preparePolicing, withoutPolicing } from "./policy/police.ts";
import type { Station } from "./station.ts";
import { type CallDeps, detachCallOf } from "./server.ts";
import type { KeptUplink } from "./uplink.ts";
import { startVanished } from "./vanished.ts";

const slowLoop = { minMs: 200, retryMs: 500, retryMaxMs: 30_000, maxMs: 30_000 };

/** Each commit of another program asks for a look, and kube-proxy's tables have many chains: it has a fiftieth of the time at most. */
const obstaclesRestMs = restOf({ times: 50, leastMs: slowLoop.minMs, mostMs: slowLoop.maxMs });

export interface BackgroundParts {
  options: AgentOptions;
  deps: CallDeps;
  host: HostDeps;
  uplink: KeptUplink;
  obstacles: ReturnType<typeof createObstacleWatch>;
  masquerade: KeptMasquerade;
}

/** Starts them; each can be triggered by its name. */
export function backgroundLoops(
  { options, deps, host, uplink, obstacles, masquerade }: BackgroundParts,
  signal: AbortSignal,
  onPass: (pass: LoopPass) => void,
): Loop[] {
  const { pool } = deps;
  const { releaseProgram } = options;
  return [
    ...(releaseProgram === undefined ? [] : [startOwnMemory({ releaseProgram, signal, onPass })]),
    startHostLoop(host, signal, onPass),
    startLoop({ name: "guard", ...slowLoop, sync: () => syncGuard(pool, deps), signal, onPass }),
    startMasquerade(masquerade, signal, onPass),
    startRepair(deps, signal, onPass),
    startVanished({ ...deps, clock: () => performance.now() }, signal, onPass),
    startLoop({ name: "uplink", ...slowLoop, sync: uplink.refresh, signal, onPass }),
    startLoop({ name: "obstacles", ...slowLoop, minMs: obstaclesRestMs, sync: obstacles.look, signal, onPass }),
  ];
}

/** Carries out what runtimes had deleted while no agent answered. */
export function releasesDeps({ config, log }: AgentOptions, deps: CallDeps): ReleasesDeps {
  return {
    socket: config.paths.socket,
    release: (request) =>
      deps.gate.run(request.containerId, () => detach(attachmentIdOf(request), deps, detachCallOf(request))),
    log,
  };
}

/** What the loop for the node's own settings and routes is given. */
export function hostDeps(
  { kernel, log }: AgentOptions,
  { place, uplink, metrics }: { place: Place; uplink: KeptUplink; metrics: Metrics },
): HostDeps {
  const plan = (): ReturnType<HostDeps["plan"]> => ({
    blocks: place.blocks(),
    ...place.ways(uplink.current().subnets),
    uplinkName: uplink.current().link.name,
  });
  const brake = createBrake({ settleMs: waysSettleMs, clock: () => performance.now() });
  return { kernel, plan, brake, log, metrics };
}

/** Masquerade for the pods of this place. */
export function masqueradeOf(
  { config, kernel, log }: AgentOptions,
  { place, uplink, metrics }: { place: Place; uplink: KeptUplink; metrics: Metrics },
): KeptMasquerade {
  return keepMasquerade({
    keys: config.masquerade,
    kernel,
    own: place.blocks,
    others: () => {
      const { routes, complete } = place.ways(uplink.current().subnets);
      return { ranges: routes.map(({ to }) => to), complete };
    },
    log,
    metrics,
  });
}

interface AroundPolicy {
  station: Pick<Station, "pool" | "cluster">;
  metrics: Metrics;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
}

/** Policy for the pods of this place; outside Kubernetes by a directory, where the configuration names one. */
export function policingOf(
  { config, kernel, kube, log, silentMaxMs, now = Date.now }: AgentOptions,
  { station: { pool, cluster }, metrics, signal, onPass }: AroundPolicy,
): Promise<Policing> {
  const { directory, ...keys } = config.policy;
  const nodeName = config.node.name;
  const deps = { kernel, pool, nodeName, stateDirectory: config.paths.state, keys, log, metrics, signal, onPass, now };
  if (directory !== undefined) return preparePolicing(deps, wordOfDirectory({ ...deps, directory }));
  if (kube === undefined || cluster === undefined) return withoutPolicing({ kernel });
  return preparePolicing(deps, wordOfCluster({ ...deps, kube, cluster, silentMaxMs }));
}

/** Puts everything of ours on the host's disk; from then on a loop keeps it there. It never does both at the same time. */
export async function keepInPlace(
  options: AgentOptions,
  signal: AbortSignal,
  onPass: (pass: LoopPass) => void,
): Promise<Loop> {
  await putInPlace(options);
  return startLoop({ name: "install", ...slowLoop, sync: () => putInPlace(options), signal, onPass });
}

/** All of it beside the state; the conflist, which brings pods, last. */
async function putInPlace({ config: { host, paths }, shim }: AgentOptions): Promise<void> {
  await syncDropIns(paths.etc, host.dropIns);
  await install({ shim, cniBin: paths.cniBin, cniConf: paths.cniConf });
}
