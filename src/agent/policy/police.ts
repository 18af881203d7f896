// Policy at work on this node: follows what the cluster says, keeps the kernel by it, cuts what no longer passes, writes down what outlives the agent.

import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Metrics } from "../../base/metrics.ts";
import type { Pool } from "../../ipam/pool.ts";
import type { Kernel } from "../../kernel/contract.ts";
import type { CacheStatus, Kube } from "../../kube/contract.ts";
import { startCutting } from "./cut.ts";
import { keepPolicy, type Policy, startPolicy } from "./keep.ts";
import { createPolicyFile, keptPolicyFile, readKeptPolicy } from "./kept.ts";
import { type FindPod, openPolicy, type PodPolicy } from "./pod-policy.ts";
import type { PolicyReport } from "./report.ts";
import { followPolicy } from "./sources.ts";

export interface PolicingDeps {
  kernel: Kernel;
  pool: Pool;
  nodeName: string;
  /** Where the agent's state lies. */
  stateDirectory: string;
  log: Log;
  metrics: Pick<Metrics, "repaired">;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
}

export interface Policing {
  policy: PodPolicy;
  loops: readonly Loop[];
  /** What the API server says of a pod of this node has changed. */
  podsChanged: () => void;
  caches: () => CacheStatus[];
  /** Undefined where there is no policy. */
  report: () => PolicyReport | undefined;
  /** Settles when all following has ended. */
  done: Promise<unknown>;
}

/** Outside Kubernetes there is no policy; what an earlier agent had loaded is removed. */
export async function withoutPolicing({ kernel }: Pick<PolicingDeps, "kernel">): Promise<Policing> {
  await kernel.policy.prune();
  return {
    policy: openPolicy,
    loops: [],
    podsChanged: () => {},
    caches: () => [],
    report: () => undefined,
    done: Promise.resolve(),
  };
}

/** Starts all of it. Where the cluster has not told everything yet, what was kept of it counts. @throws Fault "kernel-…" */
export async function startPolicing(
  deps: PolicingDeps,
  { kube, findPod }: { kube: Kube; findPod: FindPod },
): Promise<Policing> {
  const { kernel, pool, nodeName, log, metrics, signal, onPass } = deps;
  const file = keptPolicyFile(deps.stateDirectory);
  const kept = await readKeptPolicy(file, log);
  const source = followPolicy({ kube, signal, onChange: () => ask() });
  const cutting = startCutting({ conntrack: kernel.conntrack, log }, signal, onPass);
  const policy = keepPolicy({
    kernel,
    pool,
    nodeName,
    source,
    findPod,
    kept,
    log,
    metrics,
    signal,
    onNarrowed: cutting.judgeBy,
  });
  const write = createPolicyFile(file);
  const writeDown = async (): Promise<void> => {
    const keepable = policy.keepable();
    if (keepable !== undefined) await write(keepable);
  };
  const writing = startLoop({
    name: "policy-file",
    minMs: 500,
    retryMs: 1_000,
    retryMaxMs: 30_000,
    maxMs: 60_000,
    sync: writeDown,
    signal,
    onPass,
  });
  const keeping = startPolicy(policy, signal, onPass);
  const ask = (what: Parameters<typeof policy.changed>[0] = "cluster"): void => {
    policy.changed(what);
    keeping.trigger();
    writing.trigger();
  };
  pool.watch(() => ask("attachments"));
  return {
    policy,
    loops: [doubting(keeping, policy), cutting.loop, writing],
    podsChanged: () => ask(),
    caches: source.caches,
    report: policy.report,
    // What the last half second brought, too.
    done: Promise.all([source.done, keeping.done, writing.done])
      .then(writeDown)
      .catch((error: unknown) =>
        log.error({ file, error: describe(error) }, "policy was not written down for the next agent"),
      ),
  };
}

/** Whoever else triggers the loop has seen somebody change the kernel. */
function doubting(loop: Loop, { doubt }: Policy): Loop {
  return {
    ...loop,
    trigger: () => {
      doubt();
      loop.trigger();
    },
  };
}
