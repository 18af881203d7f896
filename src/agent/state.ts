// The state file at start: this node's own is opened; a damaged one, or another node's, is set aside and the kernel is asked.

import { existsSync, renameSync } from "node:fs";
import { describe, Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { uptimeMs } from "../base/uptime.ts";
import { openPool, type Pool } from "../ipam/pool.ts";
import { openSqliteStore } from "../ipam/sqlite-store.ts";
import type { Blocks, Store } from "../ipam/store.ts";

export interface StateOptions {
  file: string;
  /** The node that the state must be of. */
  nodeName: string;
  /** uid of its Node, where that is known: a node of the same name that was made anew is another one. */
  nodeUid?: string;
  blocks: Blocks;
  log: Log;
  /** Wall clock in ms. */
  now: () => number;
  /** Ms since boot. */
  uptime?: () => number;
  openStore?: (file: string) => Store;
}

export interface State {
  pool: Pool;
  store: Store;
  /** Why the file that was there could not be used; undefined where it was, or where there was none. */
  setAside?: "damaged" | "foreign";
}

/**
 * Opens the state. A file that cannot be used is kept beside it, under a name that says why and when.
 * @throws Fault "store-failed" where the disk does not let us, another process holds the file, or a newer version wrote it.
 */
export function openState(options: StateOptions): State {
  const { file, log } = options;
  try {
    const opened = open(options);
    const { node, nodeUid } = opened.pool.facts();
    if (node === options.nodeName && (nodeUid ?? options.nodeUid) === (options.nodeUid ?? nodeUid)) return opened;
    // A file without a node is new, or was made by hand: it becomes ours.
    if (node === undefined) return own(opened, options);
    opened.store.close();
    const whose = node === options.nodeName ? `${node} before it was made anew (uid ${nodeUid})` : node;
    return afresh("foreign", `it is of node ${whose}`, options);
  } catch (error) {
    if (!isFault(error, "store-failed") || error.data["damaged"] !== true) throw error;
    log.error({ file, error: describe(error) }, "the state file is damaged");
    return afresh("damaged", describe(error), options);
  }
}

function open({ file, blocks, now, uptime = uptimeMs, openStore = openSqliteStore }: StateOptions): State {
  const store = openStore(file);
  try {
    return { store, pool: openPool({ blocks, store, now, uptime }) };
  } catch (error) {
    store.close();
    throw error;
  }
}

/** Writes down whose it is; where that fails it is closed, or the next try would find it held. */
function own(state: State, { nodeName }: StateOptions): State {
  try {
    state.pool.setFacts({ node: nodeName });
    return state;
  } catch (error) {
    state.store.close();
    throw error;
  }
}

function afresh(setAside: "damaged" | "foreign", why: string, options: StateOptions): State {
  const { file, log, now } = options;
  const kept = `${file}.${setAside}-${new Date(now()).toISOString().replaceAll(/[:.]/g, "")}`;
  try {
    // The log and its index belong to the file: left behind, they would be taken for the new one's.
    for (const part of ["-wal", "-shm", ""]) if (existsSync(file + part)) renameSync(file + part, kept + part);
  } catch (cause) {
    throw new Fault("store-failed", `the state file ${file} cannot be used (${why}) and cannot be moved aside`, {
      cause,
    });
  }
  log.error({ file, kept, why }, "the state file was set aside; attachments are read from the kernel");
  return { ...own(open(options), options), setAside };
}
