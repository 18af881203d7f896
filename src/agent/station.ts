// What the agent stands on before it serves: its state file and, in a cluster, its blocks; and how both follow the cluster later.

import { join } from "node:path";
import { Fault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import { uptimeMs } from "../base/uptime.ts";
import type { Pool } from "../ipam/pool.ts";
import type { Blocks } from "../ipam/store.ts";
import { type Cluster, joinCluster } from "./cluster/cluster.ts";
import { adoptBlocks, awaitBlocks, missing } from "./cluster/standing.ts";
import type { AgentOptions } from "./options.ts";
import { configuredPlace, type Place } from "./place.ts";
import { openState, type State } from "./state.ts";
import { serveWaiting } from "./status.ts";

/** Longest that a start waits for the API server's first word; one that has kept blocks serves without it then. */
const firstWordMs = 3_000;

export interface Station extends State {
  place: Place;
  /** Absent outside Kubernetes. */
  cluster?: Cluster;
  /** False where the agent was told to stop before it had blocks. */
  ready: boolean;
}

/**
 * Opens the state of this node; in a cluster it first hears which Node this is, and then waits until that has blocks.
 * @throws Fault "store-failed"
 */
export async function takeStation(options: AgentOptions, onPass: (pass: LoopPass) => void): Promise<Station> {
  const { config, kube, log, signal, version } = options;
  if (kube === undefined) {
    return { ...open(options, config.addresses.blocks), place: configuredPlace(config), ready: true };
  }
  const nodeName = config.node.name;
  const cluster = joinCluster({ kube, nodeName, agentVersion: version, log, signal, onPass });
  await cluster.firstWord(firstWordMs);
  const state = open(options, [], cluster.nodeUid());
  const { pool } = state;
  try {
    const ready = await whileWaiting(cluster, options, () => awaitBlocks(cluster, { pool, nodeName, log }, signal));
    const place: Place = { blocks: () => pool.blocks(), ways: (near) => cluster.ways(near, pool.blocks()) };
    return { ...state, place, cluster, ready };
  } catch (error) {
    state.store.close();
    throw error;
  }
}

/** Does `work` while the status socket tells what the agent waits for. */
async function whileWaiting<T>(
  cluster: Cluster,
  { config: { node, paths }, version }: AgentOptions,
  work: () => Promise<T>,
): Promise<T> {
  const stopTelling = await serveWaiting({
    socket: paths.socket,
    nodeName: node.name,
    version,
    startedMs: performance.now(),
    waitsFor: () => missing(cluster, node.name),
  });
  try {
    return await work();
  } finally {
    await stopTelling();
  }
}

function open(
  { config, log, now = Date.now, uptime = uptimeMs }: AgentOptions,
  blocks: Blocks,
  nodeUid?: string,
): State {
  return openState({
    file: join(config.paths.state, "fairlead.db"),
    nodeName: config.node.name,
    ...(nodeUid === undefined ? {} : { nodeUid }),
    blocks,
    log,
    now,
    uptime,
  });
}

export interface FollowDeps {
  pool: Pool;
  log: Log;
  trigger: (loop: string) => void;
  stop: (why: Fault) => void;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
}

/** From here on the pool and the routes are as the cluster says, and the cluster hears of the pool. Gives the loops that do it. */
export function followCluster(cluster: Cluster, deps: FollowDeps): Loop[] {
  const { pool, trigger, signal, onPass } = deps;
  const publishing = cluster.publish(pool, signal);
  const blocks = startLoop({
    name: "blocks",
    minMs: 50,
    retryMs: 500,
    retryMaxMs: 30_000,
    maxMs: 60_000,
    sync: async () => followBlocks(cluster, deps),
    signal,
    onPass,
  });
  cluster.listen((change) => {
    if (change !== "endpoints") for (const loop of ["host", "masquerade"]) trigger(loop);
    if (change !== "peers") publishing.trigger();
    if (change === "self" || change === "all") blocks.trigger();
  });
  pool.watch(() => publishing.trigger());
  return [publishing, blocks];
}

/** One pass: takes what the cluster says of this node's blocks. @throws Fault "store-failed" */
function followBlocks(cluster: Cluster, { pool, log, trigger, stop }: FollowDeps): void {
  const [uid, served] = [cluster.nodeUid(), pool.facts()["nodeUid"]];
  if (uid !== undefined && served !== undefined && served !== uid) {
    const why = `this node was made anew in the cluster (uid ${uid}, served ${served}): the agent has to start again`;
    return stop(new Fault("node-replaced", why));
  }
  const before = pool.blocks();
  if (!adoptBlocks(cluster, pool) || before === pool.blocks()) return;
  log.warn({ before, blocks: pool.blocks() }, "the cluster has changed this node's blocks");
  for (const loop of ["uplink", "host", "masquerade"]) trigger(loop);
}
