// Before it serves, the agent runs ADD and DEL against nothing: the first pods need not wait for code to be compiled.

import { hash } from "node:crypto";
import { type Log, silentLog } from "../base/log.ts";
import { createMetrics } from "../base/metrics.ts";
import { decodeRequest, encodeRequest, type WireRequest } from "../cni/wire.ts";
import { createMemoryStore } from "../ipam/memory-store.ts";
import { openPool } from "../ipam/pool.ts";
import { openKernel } from "../kernel/kernel.ts";
import { createRehearsalAddon } from "../kernel/rehearsal.ts";
import type { Cidr } from "../net/cidr.ts";
import { createGate } from "./gate.ts";
import { createLinkIndexes } from "./link-indexes.ts";
import { openPolicy } from "./policy/pod-policy.ts";
import { answer, type CallDeps } from "./server.ts";
import type { Uplink } from "./uplink.ts";

/** Enough for the engine to compile most of what ADD and DEL run through: the first one takes four times as long without. */
const pairsMax = 100;
/** Longest that a start is delayed by it. */
const rehearsalMsMax = 500;

/**
 * Runs pairs of ADD and DEL that touch no kernel, no file and no address in use. One that fails is a bug of ours and is
 * logged; it leaves the code cold, and the agent serves all the same.
 */
export async function rehearse({
  blocks,
  uplink,
  log,
}: {
  blocks: readonly Cidr[];
  uplink: Uplink;
  log: Log;
}): Promise<void> {
  const startedMs = performance.now();
  const deps = createRehearsalDeps(blocks, uplink);
  for (let pair = 0; pair < pairsMax && performance.now() - startedMs < rehearsalMsMax; pair += 1) {
    for (const verb of ["ADD", "DEL"]) {
      const { exitCode, stdout } = await answer(frame(verb, pair), deps);
      if (exitCode !== 0) return log.error({ verb, stdout }, "rehearsal failed");
    }
    deps.pool.free(deps.pool.cooled());
  }
  log.debug({ durationMs: Math.round(performance.now() - startedMs) }, "rehearsed");
}

function createRehearsalDeps(blocks: readonly Cidr[], uplink: Uplink): CallDeps {
  const log = silentLog();
  return {
    kernel: openKernel({ addon: createRehearsalAddon(), log }),
    pool: openPool({ blocks, store: createMemoryStore(), coolMs: 0 }),
    log,
    signal: new AbortController().signal,
    uplink: () => uplink,
    nextLinkIndexes: createLinkIndexes([]),
    gate: createGate(),
    metrics: createMetrics(),
    admit: async () => undefined,
    policy: openPolicy,
    podLives: () => false,
    statusMode: "normal",
    loops: () => [],
    releasesApplied: async () => {},
    onDoomed: () => {},
  };
}

const config = Buffer.from(JSON.stringify({ cniVersion: "1.0.0", name: "rehearsal", type: "fairlead-cni" }));

function frame(verb: string, number: number): WireRequest {
  const env = {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: hash("sha256", String(number)),
    CNI_NETNS: "/run/netns/rehearsal",
    CNI_IFNAME: "eth0",
    CNI_PATH: "/opt/cni/bin",
    CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=rehearsal;K8S_POD_NAME=rehearsal",
  };
  return decodeRequest(encodeRequest({ env: new Map(Object.entries(env)), stdin: config }));
}
