// What the agent stands on before it serves: its state file and, in a cluster, its blocks; and how both follow the cluster later.

import { join } from "node:path";
import type { Fault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import { uptimeMs } from "../base/uptime.ts";
import type { Pool } from "../ipam/pool.ts";
import type { Blocks } from "../ipam/store.ts";
import { type Cluster, joinCluster } from "./cluster/cluster.ts";
import { awaitFit } from "./cluster/fit.ts";
import { adoptBlocks, awaitBlocks, missing, replaced } from "./cluster/standing.ts";
import type { AgentOptions } from "./options.ts";
import { configuredPlace, type Place } from "./place.ts";
import { openState, type State } from "./state.ts";
import { serveWaiting } from "./status.ts";
import { findUplink, uplinkOptions } from "./uplink.ts";

/** Longest that a start waits for the API server's first word; one that has kept blocks serves without it then. */
const firstWordMs = 3_000;

export interface Station extends State {
  place: Place;
  /** Absent outside Kubernetes. */
  cluster?: Cluster;
  /** False where the agent was told to stop before it could serve. */
  ready: boolean;
}

/**
 * Opens the state of this node; in a cluster it first hears which Node this is, and then waits until that has blocks, and what they need.
 * @throws Fault "store-failed"; "node-replaced" where its Node is another one before it could serve
 */
export async function takeStation(options: AgentOptions, onPass: (pass: LoopPass) => void): Promise<Station> {
  const { config, kernel, kube, log, signal, version } = options;
  if (kube === undefined) {
    return { ...open(options, config.addresses.blocks), place: configuredPlace(config), ready: true };
  }
  const nodeName = config.node.name;
  const cluster = joinCluster({ kube, nodeName, agentVersion: version, log, signal, onPass });
  await cluster.firstWord(firstWordMs);
  const state = open(options, [], cluster.nodeUid());
  const { pool } = state;
  const place: Place = { blocks: () => pool.blocks(), ways: (near) => cluster.ways(near, pool.blocks()) };
  const look = async (): Promise<void> => void (await findUplink(kernel, uplinkOptions(config, place.blocks)));
  try {
    const ready = await whileWaiting(cluster, options, async (onWait) => {
      if (!(await awaitBlocks(cluster, { pool, nodeName, log }, signal))) return false;
      return awaitFit(cluster, { kernel, pool, log, look, onWait }, signal);
    });
    return { ...state, place, cluster, ready };
  } catch (error) {
    state.store.close();
    throw error;
  }
}

/** Does `work` while the status socket tells what the agent waits for: the cluster, until `work` says something else. */
async function whileWaiting<T>(
  cluster: Cluster,
  { config: { node, paths }, version }: AgentOptions,
  work: (onWait: (why: string) => void) => Promise<T>,
): Promise<T> {
  let waitsFor: string | undefined;
  const stopTelling = await serveWaiting({
    socket: paths.socket,
    nodeName: node.name,
    version,
    startedMs: performance.now(),
    waitsFor: () => waitsFor ?? missing(cluster, node.name),
  });
  try {
    return await work((why) => {
      waitsFor = why;
    });
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
  /** The API server says something else of a pod of this node. */
  podsChanged: () => void;
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
    if (change === "endpoints" || change === "pods" || change === "all") deps.podsChanged();
    if (change === "pods") return;
    if (change !== "endpoints") for (const loop of ["host", "masquerade"]) trigger(loop);
    if (change !== "peers") publishing.trigger();
    if (change === "self" || change === "all") blocks.trigger();
  });
  // What came before this listener did.
  deps.podsChanged();
  pool.watch(() => publishing.trigger());
  return [publishing, blocks];
}

/** One pass: takes what the cluster says of this node's blocks. @throws Fault "store-failed" */
function followBlocks(cluster: Cluster, { pool, log, trigger, stop }: FollowDeps): void {
  const other = replaced(cluster, pool);
  if (other !== undefined) return stop(other);
  const before = pool.blocks();
  if (!adoptBlocks(cluster, pool) || before === pool.blocks()) return;
  log.warn({ before, blocks: pool.blocks() }, "the cluster has changed this node's blocks");
  for (const loop of ["uplink", "host", "masquerade"]) trigger(loop);
}
