// Policy at work on this node: follows what the cluster says, keeps the kernel by it, cuts what no longer passes, writes down what outlives the agent.

import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Metrics, Reading } from "../../base/metrics.ts";
import type { Pool } from "../../ipam/pool.ts";
import type { Kernel } from "../../kernel/contract.ts";
import type { CacheStatus, Kube } from "../../kube/contract.ts";
import type { Judging } from "../cluster/judging.ts";
import type { PolicyAnswer } from "./counting.ts";
import { prepareCutting, startCutting } from "./cut.ts";
import { keepPolicy, type Policy, startPolicy } from "./keep.ts";
import { createPolicyFile, keptPolicyFile, readKeptPolicy } from "./kept.ts";
import { type FindPod, openPolicy, type PodPolicy } from "./pod-policy.ts";
import type { PolicyReport } from "./report.ts";
import { followPolicy } from "./sources.ts";

export interface PolicingDeps {
  kernel: Kernel;
  pool: Pool;
  nodeName: string;
  /** As the agent's configuration has it. */
  groupsJudgeOwnNode: boolean;
  /** Where the agent's state lies. */
  stateDirectory: string;
  log: Log;
  metrics: Pick<Metrics, "repaired">;
  /** Hears by what the kernel judges. */
  judging: (now: Judging) => void;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
}

export interface Policing {
  policy: PodPolicy;
  /** Starts to keep the kernel by it; to be called once, when it is known which pods are attached. */
  begin: () => Loop[];
  /** What the API server says of a pod of this node has changed. */
  podsChanged: () => void;
  caches: () => CacheStatus[];
  /** Undefined where there is no policy. */
  report: () => PolicyReport | undefined;
  /** What policy has counted, as metrics; none where there is no policy. */
  readings: () => Promise<Reading[]>;
  /** The same for people; undefined where there is no policy. @throws Fault as the kernel's table has them */
  answer: () => Promise<PolicyAnswer | undefined>;
  /** Settles when all following has ended, and all is written down; to be asked once the loops have ended. */
  ended: () => Promise<unknown>;
}

/** Outside Kubernetes there is no policy; what an earlier agent had loaded is removed. */
export async function withoutPolicing({ kernel }: Pick<PolicingDeps, "kernel">): Promise<Policing> {
  await kernel.policy.prune();
  return {
    policy: openPolicy,
    begin: () => [],
    podsChanged: () => {},
    caches: () => [],
    report: () => undefined,
    readings: async () => [],
    answer: async () => undefined,
    ended: async () => {},
  };
}

/** Prepares all of it. Where the cluster has not told everything yet, what was kept of it counts. */
export async function preparePolicing(
  deps: PolicingDeps,
  { kube, findPod, podsKnown }: { kube: Kube; findPod: FindPod; podsKnown: () => boolean },
): Promise<Policing> {
  const { kernel, pool, nodeName, log, signal, onPass } = deps;
  const file = keptPolicyFile(deps.stateDirectory);
  // A node that was made anew under its name is another one.
  const node = `${nodeName} ${pool.facts()["nodeUid"] ?? ""}`;
  const kept = await readKeptPolicy(file, node, log);
  const source = followPolicy({ kube, podsKnown, signal, onChange: () => ask() });
  const loops = new Map<"keeping" | "cutting" | "writing", Loop>();
  const cutting = prepareCutting({ conntrack: kernel.conntrack, log }, () => loops.get("cutting")?.trigger());
  const policy = keepPolicy({ ...deps, source, findPod, kept, cutting });
  const write = createPolicyFile(file, node);
  const writeDown = async (): Promise<void> => {
    const keepable = policy.keepable();
    if (keepable !== undefined) await write(keepable);
  };
  const ask = (what: Parameters<typeof policy.changed>[0] = "cluster"): void => {
    policy.changed(what);
    for (const name of ["keeping", "writing"] as const) loops.get(name)?.trigger();
  };
  const begin = (): Loop[] => {
    const keeping = startPolicy(policy, signal, onPass);
    const slow = { minMs: 500, retryMs: 1_000, retryMaxMs: 30_000, maxMs: 60_000 };
    loops.set("keeping", keeping);
    loops.set("cutting", startCutting(cutting, signal, onPass));
    loops.set("writing", startLoop({ name: "policy-file", ...slow, sync: writeDown, signal, onPass }));
    pool.watch(() => ask("attachments"));
    return [...loops.values()].map((loop) => (loop === keeping ? doubting(loop, policy) : loop));
  };
  return {
    policy: {
      ...policy,
      linkRepaired: () => {
        policy.linkRepaired();
        loops.get("keeping")?.trigger();
      },
    },
    begin,
    podsChanged: () => ask(),
    caches: source.caches,
    report: policy.report,
    readings: policy.readings,
    answer: policy.answer,
    // What the last half second brought, too.
    ended: async () => {
      await source.done;
      await writeDown().catch((error: unknown) =>
        log.error({ file, error: describe(error) }, "policy was not written down for the next agent"),
      );
    },
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
