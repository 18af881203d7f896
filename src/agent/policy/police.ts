// Policy at work on this node: follows what the cluster says, keeps the kernel by it, cuts what no longer passes, writes down what outlives the agent.

import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Metrics, Reading } from "../../base/metrics.ts";
import type { Pool } from "../../ipam/pool.ts";
import type { Kernel } from "../../kernel/contract.ts";
import { createDenialEvents } from "../flows/denial-events.ts";
import { createFlows, type FlowsAnswer, type FlowsQuestion } from "../flows/flows.ts";
import type { CacheStatus, Kube } from "../../kube/contract.ts";
import type { Judging } from "../cluster/judging.ts";
import type { PolicyAnswer } from "./counting.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import type { Node } from "../../kube/core-objects.ts";
import { breakGlassAnnotation } from "../../policy/break-glass.ts";
import type { NodeFault } from "../cluster/peers.ts";
import { startEvents } from "../../kube/events.ts";
import { prepareCutting, startCutting } from "./cut.ts";
import { createGlass } from "./glass.ts";
import { heardWithinMs } from "./heard.ts";
import { keepPolicy, type Policy, startPolicy } from "./keep.ts";
import { createPolicyFile, keptPolicyFile, readKeptPolicy } from "./kept.ts";
import { type FindOwner, type FindPod, openPolicy, type PodPolicy } from "./pod-policy.ts";
import type { PolicyReport } from "./report.ts";
import { followPolicy } from "./sources.ts";
import { createWithheld } from "./withheld.ts";

export interface PolicingDeps {
  kernel: Kernel;
  pool: Pool;
  nodeName: string;
  /** As the agent's configuration has them. */
  keys: PolicyKeys;
  /** Where the agent's state lies. */
  stateDirectory: string;
  /** Longest silence of a watch that is believed without asking; tests pass their own. */
  silentMaxMs?: number | undefined;
  log: Log;
  metrics: Pick<Metrics, "repaired" | "flow">;
  /** Hears by what the kernel judges. */
  judging: (now: Judging) => void;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
  /** Milliseconds since 1970. */
  now: () => number;
}

/** What policy asks of the cluster, and tells it. */
export interface PolicyCluster {
  kube: Kube;
  findPod: FindPod;
  findOwner: FindOwner;
  podsKnown: () => boolean;
  /** This node's Node; undefined where nobody has told of it. */
  ownNode: () => Node | undefined;
  onBroken: (faults: readonly NodeFault[]) => void;
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
  /** What the flow log tells; undefined where there is no policy. */
  flows: (question: FlowsQuestion) => FlowsAnswer | undefined;
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
    flows: () => undefined,
    readings: async () => [],
    answer: async () => undefined,
    ended: async () => {},
  };
}

/** Prepares all of it. Where the cluster has not told everything yet, what was kept of it counts. */
export async function preparePolicing(
  deps: PolicingDeps,
  { kube, findPod, findOwner, podsKnown, ownNode, onBroken }: PolicyCluster,
): Promise<Policing> {
  const { kernel, pool, nodeName, keys, log, signal, onPass, silentMaxMs = heardWithinMs } = deps;
  const file = keptPolicyFile(deps.stateDirectory);
  // A node that was made anew under its name is another one.
  const node = `${nodeName} ${pool.facts()["nodeUid"] ?? ""}`;
  const kept = await readKeptPolicy(file, node, log);
  const source = followPolicy({ kube, keys, podsKnown, silentMaxMs, log, signal, onChange: () => ask() });
  pool.withhold(createWithheld(source, kept));
  const loops = new Map<"keeping" | "cutting" | "writing" | "flows", Loop>();
  const cutting = prepareCutting({ conntrack: kernel.conntrack, log }, () => loops.get("cutting")?.trigger());
  const teller = { component: "fairlead-agent", instance: nodeName, log, signal };
  const flows = createFlows({
    ...deps,
    definitions: () => (source.known() ? source.read().memberships : new Map()),
    onDenied: createDenialEvents({
      events: startEvents({ kube, ...teller }),
      nodeName,
      clock: () => performance.now(),
    }),
  });
  const judgeBy: typeof cutting.judgeBy = (model, isNarrower) => {
    flows.judgeBy(model);
    cutting.judgeBy(model, isNarrower);
  };
  const nodeBreakGlass = (): string | undefined => {
    const told = ownNode();
    return told === undefined ? kept?.nodeBreakGlass : told.metadata.annotations?.[breakGlassAnnotation];
  };
  const glass = createGlass({ nodeName, ofNode: nodeBreakGlass, now: deps.now });
  const around = { source, findPod, findOwner, kept, glass, nodeBreakGlass, onBroken };
  const policy = keepPolicy({ ...deps, ...around, cutting: { ...cutting, judgeBy } });
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
    loops.set("flows", flows.start(signal, onPass));
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
    flows: (question) => flows.answer(question),
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
