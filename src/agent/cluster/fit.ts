// A node that lacks what its blocks need, such as an address of their family: the cluster is told, and a start waits for it.

import { isFault } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { pause } from "../../base/pause.ts";
import type { Pool } from "../../ipam/pool.ts";
import type { Kernel, KernelChange } from "../../kernel/contract.ts";
import type { Cluster } from "./cluster.ts";
import { adoptBlocks, replaced } from "./standing.ts";

/** How often a waiting agent looks again, events aside; events closer together than `settleMs` are one. */
const lookMs = 30_000;
const settleMs = 100;

/** Changes of the node's network after which it may be fit. */
const concerning: ReadonlySet<KernelChange["what"]> = new Set(["address", "link", "route", "lost"]);

/** Gives `look` such that the cluster hears of a node that it finds unfit, and of one that is well again. */
export function tellingCluster(cluster: Pick<Cluster, "tell">, look: () => Promise<void>): () => Promise<void> {
  return async () => {
    try {
      await look();
      cluster.tell(undefined);
    } catch (error) {
      if (isFault(error, "machine-unfit")) cluster.tell({ code: error.code, message: error.message });
      throw error;
    }
  };
}

export interface FitDeps {
  kernel: Pick<Kernel, "watch">;
  pool: Pool;
  log: Log;
  /** Looks whether the node has what its blocks need. @throws Fault "machine-unfit" where it has not */
  look: () => Promise<void>;
  /** Told what the agent waits for, in words with their cure. */
  onWait: (why: string) => void;
}

/**
 * Waits until the node has what the blocks need that it was given; follows the cluster meanwhile, which may give others. Gives false
 * where `signal` ended the wait.
 * @throws Fault "node-replaced" where its Node is another one now
 */
export async function awaitFit(
  cluster: Pick<Cluster, "listen" | "tell" | "nodeUid" | "blocks">,
  { kernel, pool, log, look, onWait }: FitDeps,
  signal: AbortSignal,
): Promise<boolean> {
  let wake = (): void => {};
  const unwatch = kernel.watch(({ what }) => {
    if (concerning.has(what)) wake();
  });
  cluster.listen(() => wake());
  const lookAndTell = tellingCluster(cluster, look);
  let said: string | undefined;
  try {
    while (!signal.aborted) {
      let changed = false; // while it is looked, too
      wake = () => void (changed = true);
      const why = await unfitness(lookAndTell);
      if (why === undefined) return true;
      onWait(why);
      if (why !== said) log.error({ waitsFor: why }, "this node is not fit for its blocks: no pod can be attached");
      said = why;
      await pause(settleMs, signal);
      if (!changed) await pause(lookMs, signal, (end) => (wake = end));
      const other = replaced(cluster, pool);
      if (other !== undefined) throw other;
      adoptBlocks(cluster, pool);
    }
    return false;
  } finally {
    unwatch();
  }
}

async function unfitness(look: () => Promise<void>): Promise<string | undefined> {
  try {
    await look();
    return undefined;
  } catch (error) {
    if (isFault(error, "machine-unfit")) return error.message;
    throw error;
  }
}
