// Policy at work on this node: keeps the kernel by a word that is followed, cuts what no longer passes, tells of what is denied, writes down what outlives the agent.

import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Metrics, Reading } from "../../base/metrics.ts";
import type { Pool } from "../../ipam/pool.ts";
import type { Kernel } from "../../kernel/contract.ts";
import type { CacheStatus } from "../../kube/contract.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import { createFlows, type FlowsAnswer, type FlowsQuestion } from "../flows/flows.ts";
import type { PolicyAnswer } from "./counting.ts";
import { prepareCutting, startCutting } from "./cut.ts";
import { createGathering } from "./gathering.ts";
import { createGlass } from "./glass.ts";
import { keepPolicy, type Policy, startPolicy } from "./keep.ts";
import { createPolicyFile, keptPolicyFile, readKeptPolicy } from "./kept.ts";
import { openPolicy, type PodPolicy } from "./pod-policy.ts";
import type { PolicyReport } from "./report.ts";
import { createWithheld } from "./withheld.ts";
import type { FollowWord } from "./word.ts";
import { createWriting, decidingRestMs } from "./writing.ts";

export interface PolicingDeps {
  kernel: Kernel;
  pool: Pool;
  nodeName: string;
  /** As the agent's configuration has them. */
  keys: PolicyKeys;
  /** Where the agent's state lies. */
  stateDirectory: string;
  log: Log;
  metrics: Pick<Metrics, "repaired" | "flow">;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
  /** Milliseconds since 1970. */
  now: () => number;
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

/** What has come is in the kernel and known here by its ADD, and who gets the address of what went has a pass: others need not meet one. */
const gatherMs = 100;

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

/** Prepares all of it, by the word of a cluster or of a directory. Where nobody has told everything yet, what was kept of it counts. */
export async function preparePolicing(deps: PolicingDeps, follow: FollowWord): Promise<Policing> {
  const { kernel, pool, nodeName, log, signal, onPass } = deps;
  const file = keptPolicyFile(deps.stateDirectory);
  // A node that was made anew under its name is another one.
  const node = `${nodeName} ${pool.facts()["nodeUid"] ?? ""}`;
  const kept = await readKeptPolicy(file, node, log);
  const loops = new Map<"keeping" | "cutting" | "writing" | "flows", Loop>();
  let keeper: Pick<Policy, "changed"> | undefined; // to one that is yet to come, all is new anyway
  const ask = (what: Parameters<Policy["changed"]>[0] = "cluster"): void => {
    keeper?.changed(what);
    for (const name of ["keeping", "writing"] as const) loops.get(name)?.trigger();
  };
  const word = follow({ kept, onChange: () => ask() });
  const { source, labelsOf } = word;
  pool.withhold(createWithheld(source, kept));
  const cutting = prepareCutting({ conntrack: kernel.conntrack, log, clock: () => performance.now() }, () =>
    loops.get("cutting")?.trigger(),
  );
  const flows = createFlows({
    ...deps,
    definitions: () => (source.known() ? source.read().memberships : new Map()),
    otherPodAt: word.otherPodAt,
    onDenied: word.onDenied,
  });
  const told: Pick<typeof cutting, "expect" | "judgeBy"> = {
    expect: (model) => {
      flows.expect(model);
      cutting.expect(model);
    },
    judgeBy: (model, isNarrower) => {
      flows.judgeBy(model);
      cutting.judgeBy(model, isNarrower);
    },
  };
  const glass = createGlass({ nodeName, ofNode: word.nodeBreakGlass, now: deps.now });
  const policy = keepPolicy({ ...deps, ...word, kept, glass, cutting: told });
  keeper = policy;
  const writing = createWriting({
    keepable: policy.keepable,
    deciding: () => [source.read(), word.nodeBreakGlass()],
    write: createPolicyFile(file, node),
    clock: () => performance.now(),
  });
  const gathered = createGathering(gatherMs, signal, () => ask("attachments"));
  const begin = (): Loop[] => {
    const keeping = startPolicy(policy, signal, onPass);
    const pace = { minMs: decidingRestMs, retryMs: 1_000, retryMaxMs: 30_000, maxMs: writing.dueMs };
    loops.set("keeping", keeping);
    loops.set("cutting", startCutting(cutting, signal, onPass));
    loops.set("flows", flows.start(signal, onPass));
    loops.set("writing", startLoop({ name: "policy-file", ...pace, sync: writing.sync, signal, onPass }));
    pool.watch(() => {
      policy.changed("attachments");
      gathered();
    });
    const kept = [...loops.values()].map((one) => (one === keeping ? doubting(one, policy) : one));
    return word.loop === undefined ? kept : [...kept, word.loop];
  };
  return {
    policy: {
      ...policy,
      labelsOf,
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
    // What the last seconds brought, too.
    ended: async () => {
      await source.done;
      await writing
        .all()
        .catch((error: unknown) =>
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
