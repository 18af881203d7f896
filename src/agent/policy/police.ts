// Policy at work on this node: follows what the cluster says, keeps the kernel by it, cuts what no longer passes, writes down what outlives the agent.

import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Metrics } from "../../base/metrics.ts";
import type { Pool } from "../../ipam/pool.ts";
import { labelsOf } from "../../cni/labels.ts";
import type { CniRequest } from "../../cni/types.ts";
import type { Attachment } from "../../ipam/store.ts";
import type { Kernel } from "../../kernel/contract.ts";
import type { CacheStatus, Kube } from "../../kube/contract.ts";
import { type Pod, pods } from "../../kube/core-objects.ts";
import { podOf } from "../attach.ts";
import { prepareCutting, startCutting } from "./cut.ts";
import { followDirectory } from "./directory.ts";
import { heardWithinMs } from "./heard.ts";
import { keepPolicy, type Policy, startPolicy } from "./keep.ts";
import { createPolicyFile, type KeptPolicy, keptPolicyFile, readKeptPolicy } from "./kept.ts";
import { type FindOwner, type FindPod, openPolicy, type PodPolicy } from "./pod-policy.ts";
import type { PolicyReport } from "./report.ts";
import { followPolicy, type PolicySource } from "./sources.ts";
import { createWithheld } from "./withheld.ts";

export interface PolicingDeps {
  kernel: Kernel;
  pool: Pool;
  nodeName: string;
  /** As the agent's configuration has it. */
  groupsJudgeOwnNode: boolean;
  /** Where the agent's state lies. */
  stateDirectory: string;
  /** Longest silence of a watch that is believed without asking; tests pass their own. */
  silentMaxMs?: number | undefined;
  log: Log;
  metrics: Pick<Metrics, "repaired">;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
}

export interface Policing {
  policy: PodPolicy;
  /** Starts to keep the kernel by it; to be called once, when it is known which pods are attached. */
  begin: () => Loop[];
  /** The Pod of a sandbox that is added, where files say what pods are. @throws Fault "unsupported-value" for labels that are none */
  admit?: (request: CniRequest) => Promise<Pod | undefined>;
  /** What the API server says of a pod of this node has changed. */
  podsChanged: () => void;
  caches: () => CacheStatus[];
  /** Undefined where there is no policy. */
  report: () => PolicyReport | undefined;
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
    ended: async () => {},
  };
}

/** Whose word judges, and how its pods are found. */
export interface PolicyWord {
  source: PolicySource;
  findPod: FindPod;
  findOwner: FindOwner;
  /** Runs beside the others. */
  loop?: Loop;
  admit?: Policing["admit"];
}

/** Prepares policy by the word of the API server. Where the cluster has not told everything yet, what was kept of it counts. */
export function preparePolicing(
  deps: PolicingDeps,
  { kube, findPod, findOwner, podsKnown }: Pick<PolicyWord, "findPod" | "findOwner"> & ClusterWord,
): Promise<Policing> {
  const { log, signal, silentMaxMs = heardWithinMs } = deps;
  return policingBy(deps, (onChange) => ({
    source: followPolicy({ kube, podsKnown, silentMaxMs, log, signal, onChange }),
    findPod,
    findOwner,
  }));
}

interface ClusterWord {
  kube: Kube;
  podsKnown: () => boolean;
}

/** The namespace of a sandbox whose caller names no pod; its name is that of the container. */
const namespaceDefault = "default";

/** Prepares policy by the files of a directory: for nodes without Kubernetes. */
export function prepareDirectoryPolicing(deps: PolicingDeps, directory: string): Promise<Policing> {
  return policingBy(deps, (onChange, kept) => {
    const { findPod, loop, ...source } = followDirectory({ ...deps, directory, kept, onChange });
    const admit: Policing["admit"] = async (request) => {
      const { pod = namedByContainer(request) } = podOf(request);
      // What the caller says of it counts where no file does.
      return findPod(pod) ?? podLabelled(pod, deps.nodeName, labelsOf(request.config));
    };
    return { source, findPod, findOwner: () => undefined, loop, admit };
  });
}

const namedByContainer = ({ containerId }: { containerId: string }): NonNullable<Attachment["pod"]> => ({
  namespace: namespaceDefault,
  name: containerId,
});

function podLabelled(
  { namespace, name }: NonNullable<Attachment["pod"]>,
  nodeName: string,
  labels: Record<string, string>,
): Pod {
  return pods.parse({
    metadata: { namespace, name, uid: `${namespace}/${name}`, labels },
    spec: { nodeName },
    status: {},
  });
}

async function policingBy(
  deps: PolicingDeps,
  follow: (onChange: () => void, kept: KeptPolicy | undefined) => PolicyWord,
): Promise<Policing> {
  const { kernel, pool, nodeName, log, signal, onPass } = deps;
  const file = keptPolicyFile(deps.stateDirectory);
  // A node that was made anew under its name is another one.
  const node = `${nodeName} ${pool.facts()["nodeUid"] ?? ""}`;
  const kept = await readKeptPolicy(file, node, log);
  const { source, findPod, findOwner, loop, admit } = follow(() => ask(), kept);
  pool.withhold(createWithheld(source, kept));
  const loops = new Map<"keeping" | "cutting" | "writing", Loop>();
  const cutting = prepareCutting({ conntrack: kernel.conntrack, log }, () => loops.get("cutting")?.trigger());
  const policy = keepPolicy({
    ...deps,
    source,
    findPod,
    findOwner,
    nameOf: admit === undefined ? undefined : namedByContainer,
    kept,
    cutting,
  });
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
    const kept = [...loops.values()].map((one) => (one === keeping ? doubting(one, policy) : one));
    return loop === undefined ? kept : [...kept, loop];
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
    ...(admit === undefined ? {} : { admit }),
    podsChanged: () => ask(),
    caches: source.caches,
    report: policy.report,
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
