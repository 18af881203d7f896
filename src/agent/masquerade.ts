// Masquerade: pods leave the cluster with their node's address. Reads ip-masq-agent's file, and keeps the kernel's table by it.

import type { Stats } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { configSizeMaxBytes } from "../base/config.ts";
import { Fault, describe, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import type { Metrics } from "../base/metrics.ts";
import { type Kernel, type MasqueradePlan, routeProtocol } from "../kernel/contract.ts";
import type { Cidr } from "../net/cidr.ts";
import type { AgentConfig } from "./config.ts";
import {
  type MasqueradeFile,
  defaultMasqueradeFile,
  masqueradePlan,
  parseMasqueradeFile,
} from "./masquerade-config.ts";

export interface MasqueradeDeps {
  keys: AgentConfig["masquerade"];
  kernel: Pick<Kernel, "node" | "masquerade">;
  /** This node's own blocks. */
  own: () => readonly Cidr[];
  /** Pods of other nodes; not `complete`: there may be more than these. */
  others: () => { ranges: readonly Cidr[]; complete: boolean };
  log: Log;
  metrics: Pick<Metrics, "repaired">;
}

/** What is known of it, for those who look. */
export interface MasqueradeStatus {
  /** "bad": it cannot be understood, and the rules before it stay. "unread" before the first pass. */
  file: "good" | "absent" | "bad" | "unread";
  /** Where the file is, or is looked for. */
  path: string;
  /** What is wrong with it. */
  problem?: string;
  unknownKeys: readonly string[];
  /** What the kernel holds; absent where nothing was loaded yet, the rules of an earlier agent stay then. */
  plan?: MasqueradePlan;
}

export interface KeptMasquerade {
  /** One pass. */
  sync: () => Promise<void>;
  /** How long the file may go unread. */
  rereadMs: () => number;
  /** Undefined where masquerade is off. */
  status: () => MasqueradeStatus | undefined;
}

/** A file found, or where none was. */
interface Found {
  path: string;
  text?: string;
}

/** The table is looked at that often, whatever the file says. */
const passMaxMs = 30_000;

/** Keeps the masquerade; where it is off, removes once what an earlier agent had made. */
export function keepMasquerade(deps: MasqueradeDeps): KeptMasquerade {
  const { keys, kernel, own, log, metrics } = deps;
  let pruned = false;
  let settings: MasqueradeFile | undefined;
  let status: MasqueradeStatus = { file: "unread", path: keys.configFile, unknownKeys: [] };

  async function prune(): Promise<void> {
    if (pruned) return;
    await kernel.masquerade.prune();
    pruned = true;
  }

  /** What is wrong with the file is no failure of the pass: it is told, and what it said before holds on. */
  async function read(): Promise<void> {
    const before = status;
    try {
      const { path, text } = await find(keys.configFile);
      const read = text === undefined ? defaultMasqueradeFile(keys) : parseMasqueradeFile(text, path, keys);
      if (!isDeepStrictEqual(read, settings)) log.info({ path, ...read }, "masquerade settings");
      settings = read;
      const { problem: _, ...rest } = before;
      status = { ...rest, file: text === undefined ? "absent" : "good", path, unknownKeys: read.unknownKeys };
    } catch (error) {
      const problem = describe(error).replaceAll(/\s*\n\s*/g, " ");
      status = { ...before, file: "bad", problem };
      if (problem !== before.problem)
        log.error({ problem }, "masquerade settings are wrong: the rules before them stay");
    }
  }

  async function podRanges(): Promise<{ own: readonly Cidr[]; all: readonly Cidr[] }> {
    const { ranges, complete } = deps.others();
    const all = [...keys.podRanges, ...ranges];
    return { own: own(), all: complete ? all : [...all, ...(await routedRanges(kernel))] };
  }

  async function sync(): Promise<void> {
    if (!keys.enabled) return prune();
    await read();
    if (settings === undefined) return;
    const plan = masqueradePlan(settings, keys, await podRanges());
    const changed = await kernel.masquerade.ensure(plan);
    const isRepair = changed && isDeepStrictEqual(plan, status.plan);
    status = { ...status, plan };
    if (!changed) return;
    log.info({ from: plan.from, keep: plan.keep }, isRepair ? "masquerade repaired" : "masquerade loaded or changed");
    if (isRepair) metrics.repaired("masquerade", 1);
  }

  return {
    sync,
    rereadMs: () => Math.min(passMaxMs, settings?.resyncMs ?? passMaxMs),
    status: () => (keys.enabled ? status : undefined),
  };
}

/** Starts the loop that keeps it. */
export function startMasquerade(
  { sync, rereadMs }: KeptMasquerade,
  signal: AbortSignal,
  onPass: (pass: LoopPass) => void,
): Loop {
  const pace = { minMs: 200, retryMs: 500, retryMaxMs: 30_000, maxMs: rereadMs };
  return startLoop({ name: "masquerade", ...pace, sync, signal, onPass });
}

/** Blocks of other nodes to which routes of ours lead: an earlier agent knew them. */
async function routedRanges({ node }: Pick<Kernel, "node">): Promise<Cidr[]> {
  const routes = await node.routes();
  return routes.filter(({ protocol, via }) => protocol === routeProtocol && via !== undefined).map(({ to }) => to);
}

/**
 * `path` itself, or the file `config` in it, which is how a mounted ConfigMap with that key looks.
 * @throws Fault "bad-config" where something is there that cannot be read
 */
async function find(path: string): Promise<Found> {
  const held = await lookAt(path);
  if (held === undefined) return { path };
  if (held.isDirectory()) {
    const inside = join(path, "config");
    const file = await lookAt(inside);
    return file === undefined ? { path: inside } : readText(inside, file);
  }
  return readText(path, held);
}

async function lookAt(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw new Fault("bad-config", `${path} cannot be looked at`, { cause });
  }
}

async function readText(path: string, held: Stats): Promise<Found> {
  if (!held.isFile()) throw new Fault("bad-config", `${path} is not a file`);
  if (held.size > configSizeMaxBytes)
    throw new Fault("bad-config", `${path} is larger than ${configSizeMaxBytes} bytes`);
  try {
    return { path, text: await readFile(path, "utf8") };
  } catch (cause) {
    if (isMissing(cause)) return { path };
    throw isFault(cause) ? cause : new Fault("bad-config", `${path} cannot be read`, { cause });
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
