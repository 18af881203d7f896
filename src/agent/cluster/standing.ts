// The blocks that the agent serves with: what the cluster says, and what the state file remembers while the cluster says nothing.

import { Fault } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import type { Pool } from "../../ipam/pool.ts";
import { type Cidr, parseCidr } from "../../net/cidr.ts";
import type { Cluster } from "./cluster.ts";

/** How often a waiting agent looks again, events aside, and how often it says what it waits for. */
const lookMs = 1_000;
const sayEveryMs = 15_000;

/** Facts of the state file. */
const uidFact = "nodeUid";
const blocksFact = "blocks";

/** Blocks that were kept for this Node; none where they are of another, or cannot be read. */
export function keptBlocks(facts: Readonly<Record<string, string>>, nodeUid: string | undefined): Cidr[] {
  if (nodeUid !== undefined && facts[uidFact] !== nodeUid) return [];
  const parsed = (facts[blocksFact] ?? "").split(" ").map(parseCidr);
  return parsed.filter((block) => block !== undefined);
}

/** Remembers what the cluster has given, and to which Node. @throws Fault "store-failed" */
export function keepBlocks(pool: Pool, nodeUid: string, blocks: readonly Cidr[]): void {
  pool.setFacts({ [uidFact]: nodeUid, [blocksFact]: blocks.join(" ") });
}

/**
 * Gives the pool the node's blocks: the cluster's where it says any, else those that were kept. Waits for the cluster as long as
 * there are neither, and says so. Gives false where `signal` ended the wait.
 */
export async function awaitBlocks(
  cluster: Cluster,
  { pool, nodeName, log }: { pool: Pool; nodeName: string; log: Log },
  signal: AbortSignal,
): Promise<boolean> {
  let saidMs = performance.now() - sayEveryMs + 2 * lookMs;
  while (!signal.aborted) {
    if (adoptBlocks(cluster, pool)) return true;
    const kept = keptBlocks(pool.facts(), cluster.nodeUid());
    if (kept.length > 0) {
      log.warn({ blocks: kept }, "the cluster has not said which blocks are this node's; those kept from before serve");
      pool.setBlocks(kept);
      return true;
    }
    if (performance.now() - saidMs >= sayEveryMs) {
      saidMs = performance.now();
      log.warn(
        { waitsFor: missing(cluster, nodeName), caches: cluster.caches() },
        "no blocks yet: no pod can be attached",
      );
    }
    await pause(lookMs, signal, (wake) => cluster.listen(wake));
  }
  return false;
}

/** Serves with what the cluster says from now on. Gives false where it says nothing. @throws Fault "store-failed" */
export function adoptBlocks(cluster: Pick<Cluster, "nodeUid" | "blocks">, pool: Pool): boolean {
  const [uid, blocks] = [cluster.nodeUid(), cluster.blocks()];
  if (uid === undefined || blocks.length === 0) return false;
  keepBlocks(pool, uid, blocks);
  if (blocks.join(" ") !== pool.blocks().join(" ")) pool.setBlocks(blocks);
  return true;
}

/** Why the agent cannot go on where the cluster has made its Node anew: state and blocks are of the one before. */
export function replaced(cluster: Pick<Cluster, "nodeUid">, pool: Pick<Pool, "facts">): Fault | undefined {
  const [uid, served] = [cluster.nodeUid(), pool.facts()[uidFact]];
  if (uid === undefined || served === undefined || served === uid) return undefined;
  const why = `this node was made anew in the cluster (uid ${uid}, served ${served}): the agent has to start again`;
  return new Fault("node-replaced", why);
}

/** What the agent waits for, in words with their cure. */
export function missing(cluster: Pick<Cluster, "nodeUid" | "caches">, nodeName: string): string {
  const failing = cluster.caches().find(({ failures }) => failures > 0);
  if (failing !== undefined) return `the Kubernetes API: ${failing.lastError ?? "it does not answer"}`;
  if (cluster.nodeUid() === undefined) return `Node ${nodeName}: kubelet has not registered it under this name`;
  return `status.blocks of NodeNetwork ${nodeName}, which fairlead-controller writes: see whether it runs and what it logs`;
}
