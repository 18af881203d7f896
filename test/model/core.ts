// An agent without sockets and loops, on any kernel and store: calls come in as frames, background work is done when it is asked for.

import { reap } from "../../src/agent/reaper.ts";
import { recover } from "../../src/agent/recover.ts";
import { repair } from "../../src/agent/repair.ts";
import { answer, type CallDeps } from "../../src/agent/server.ts";
import { createGate } from "../../src/agent/gate.ts";
import { createLinkIndexes } from "../../src/agent/link-indexes.ts";
import { openPolicy, type PodPolicy } from "../../src/agent/policy/pod-policy.ts";
import type { Uplink } from "../../src/agent/uplink.ts";
import { createVanishedPass } from "../../src/agent/vanished.ts";
import { silentLog } from "../../src/base/log.ts";
import { createMetrics } from "../../src/base/metrics.ts";
import { decodeRequest, encodeRequest } from "../../src/cni/wire.ts";
import { openPool, type Pool } from "../../src/ipam/pool.ts";
import type { Store } from "../../src/ipam/store.ts";
import type { Kernel } from "../../src/kernel/contract.ts";
import type { Cidr } from "../../src/net/cidr.ts";

export interface CoreOptions {
  kernel: Kernel;
  store: Store;
  blocks: readonly Cidr[];
  uplink: Uplink;
  bootId: string;
  coolMs: number;
  /** Both clocks of the agent, in ms. */
  now: () => number;
  /** Everything is open if absent. */
  policy?: PodPolicy;
  /** Before an ADD attaches; nobody is asked if absent. */
  admit?: CallDeps["admit"];
}

export interface CoreAnswer {
  exitCode: number;
  /** The error's code; 0 for success. */
  code: number;
  stdout: string;
}

export interface Core {
  pool: Pool;
  call(verb: string, env: Record<string, string>, config?: object): Promise<CoreAnswer>;
  /** One pass of every loop that takes back or repairs. */
  settle(): Promise<void>;
}

/** Starts the agent: what its predecessor left is brought in order when this settles. */
export async function startCore({
  kernel,
  store,
  blocks,
  uplink,
  bootId,
  coolMs,
  now,
  policy = openPolicy,
  admit = async () => undefined,
}: CoreOptions): Promise<Core> {
  const log = silentLog();
  const pool = openPool({ blocks, store, coolMs, now, uptime: now });
  const living = (await kernel.node.links()).map(({ index }) => index);
  const held = pool
    .all()
    .flatMap(({ attachment: { wire } }) => (wire === undefined ? [] : [wire.hostIndex, wire.podIndex]));
  const deps: CallDeps = {
    kernel,
    pool,
    log,
    admit,
    policy,
    podLives: () => false,
    signal: new AbortController().signal,
    uplink: () => uplink,
    nextLinkIndexes: createLinkIndexes([...living, ...held]),
    gate: createGate(),
    metrics: createMetrics(),
    statusMode: "normal",
    loops: () => [],
    releasesApplied: async () => {},
    onDoomed: () => {},
  };
  await recover({ ...deps, bootId, now });
  const lookForVanished = createVanishedPass({ ...deps, clock: now });
  return {
    pool,
    call: async (verb, env, config = {}) => {
      const stdin = JSON.stringify({ cniVersion: "1.1.0", name: "fairlead", type: "fairlead-cni", ...config });
      const all = { CNI_COMMAND: verb, CNI_PATH: "/opt/cni/bin", ...env };
      const frame = decodeRequest(encodeRequest({ env: new Map(Object.entries(all)), stdin: Buffer.from(stdin) }));
      const { exitCode, stdout } = await answer(frame, deps);
      return { exitCode, stdout, code: exitCode === 0 ? 0 : (JSON.parse(stdout) as { code: number }).code };
    },
    settle: async () => {
      await lookForVanished();
      await repair(deps);
      await reap(deps);
    },
  };
}
