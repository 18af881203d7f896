// Policy on this node: classes of its pods, what the kernel holds for them, and the class that each link carries.

import { isDeepStrictEqual } from "node:util";
import { present } from "../../base/assert.ts";
import { Fault } from "../../base/fault.ts";
import { pause } from "../../base/pause.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Metrics } from "../../base/metrics.ts";
import type { Pool } from "../../ipam/pool.ts";
import { attachmentKey } from "../../ipam/store.ts";
import { applyAll } from "../../kernel/apply.ts";
import type { Kernel, Link } from "../../kernel/contract.ts";
import { createCompiler } from "../../policy/compile.ts";
import { createClasses, firstClass } from "../../policy/compile-classes.ts";
import { memberChanges, withCarried } from "../../policy/compile-changes.ts";
import type { Memberships, Model } from "../../policy/model.ts";
import { readObjects, type ReadObjects } from "../../policy/read-objects.ts";
import type { PolicyRuleset } from "../../policy/ruleset.ts";
import { openGroup } from "../plan.ts";
import { unlessGone } from "../wire.ts";
import type { KeptPolicy } from "./kept.ts";
import { createMemberships } from "./memberships.ts";
import type { FindPod, PodPolicy } from "./pod-policy.ts";
import type { PolicySource } from "./sources.ts";
import { policyReport, type PolicyReport } from "./report.ts";
import { createSubjects, type Judged } from "./subjects.ts";

/** Longest that an ADD waits for the cluster to tell what judges its pod. */
const knownWithinMs = 5_000;
/** How long a start waits for the cluster's word before what was kept counts: it can be older than what the kernel holds. */
const keptAfterMs = 3_000;
/** How often it is looked whether that time has come: no event tells. */
const waitingMs = 100;

export interface PolicyDeps {
  kernel: Kernel;
  pool: Pool;
  nodeName: string;
  source: PolicySource;
  findPod: FindPod;
  /** What an earlier agent has left. */
  kept: KeptPolicy | undefined;
  log: Log;
  metrics: Pick<Metrics, "repaired">;
  signal: AbortSignal;
  /** Called after each pass by which connections may no longer pass that did, with what the kernel judges by from then on. */
  onNarrowed: (model: Model) => void;
}

export interface Policy extends PodPolicy {
  /** One pass. */
  sync: () => Promise<void>;
  /** Something that policy follows from has changed: what the cluster says, or which pods are attached. */
  changed: (what: "cluster" | "attachments") => void;
  /** Somebody else may have changed what the kernel holds. */
  doubt: () => void;
  /** It is not known yet what to judge by. */
  isWaiting: () => boolean;
  /** What the kernel was told last; undefined before the first pass that knew. */
  ruleset: () => PolicyRuleset | undefined;
  report: () => PolicyReport;
  /** What the next agent is to have; undefined while the cluster has not told everything. */
  keepable: () => KeptPolicy | undefined;
}

/** Everything that one pass decides by. */
interface View {
  objects: ReadObjects;
  told: Memberships;
}

/** Keeps the policy of the attachments of a pool. Nothing is done before the first pass. */
export function keepPolicy(deps: PolicyDeps): Policy {
  const { kernel, pool, nodeName, source, findPod, kept, log, metrics } = deps;
  const subjects = createSubjects({ nodeName, findPod, known: kept?.pods ?? new Map() });
  const classes = createClasses(kept?.classes);
  const compiler = createCompiler();
  const membershipsOf = createMemberships();
  /** The class by which the kernel judges each attachment. */
  const groups = new Map<string, number>();
  /** The pods of the last pass, by whose layers the kernel judges. */
  let judgedLast: readonly Judged[] = [];
  let held: PolicyRuleset | undefined;
  /** The cluster has said something that no pass has taken in yet. */
  let isStale = true;
  /** The next pass has something to do; else it is a look at the kernel. */
  let isAsked = true;
  /** The kernel may not hold what it was told: the next pass has to look, whatever else it has to do. */
  let isDoubtful = true;
  const view = createView(source, kept);

  async function pass(): Promise<void> {
    const look = { isDue: isDoubtful || !isAsked, isAll: !isAsked };
    isStale = false;
    isAsked = false;
    isDoubtful = false;
    try {
      const now = view();
      if (now === undefined) return void (await kernel.policy.prepare());
      await passBy(now, look);
    } catch (error) {
      isStale = true;
      isAsked = true;
      isDoubtful = true;
      throw error;
    }
  }

  async function passBy({ objects, told }: View, look: { isDue: boolean; isAll: boolean }): Promise<void> {
    const judged = subjects.of(pool.all(), objects);
    const ours = new Map(judged.map((one) => [one.attachment.wire.hostIndex, one]));
    const links = (await kernel.node.links()).filter(({ index }) => ours.has(index));
    const carried = new Set(links.map(({ group }) => group).filter((group) => group >= firstClass));
    const assigned = classes.assign(judged, carried);
    const memberships = membershipsOf(
      told,
      [...judged].map(({ pod }) => pod),
      objects,
    );
    const ruleset = compiler.compile({
      subjects: assigned.map(({ subject, classNumber }) => ({ subject, classNumber })),
      memberships,
      links: new Set(judged.map(({ attachment }) => attachment.wire.hostLink)),
      groupsJudgeOwnNode: false,
    });
    // What links still carry stays until they are moved.
    const before = held;
    const both = before === undefined ? ruleset : withCarried(before, ruleset, carried);
    const hasChanged = await kernel.policy.ensure(both, look.isDue ? undefined : "as left");
    held = both;
    groups.clear();
    for (const { subject, classNumber } of assigned) groups.set(subject.key, classNumber);
    judgedLast = judged;
    const moved = await move(links, ours);
    if (both !== ruleset) await kernel.policy.ensure(ruleset, "as left");
    held = ruleset;
    if (hasChanged && look.isAll) metrics.repaired("policy", 1);
    if (!moved && !isNarrower(before, ruleset)) return;
    const nodes = new Map([[nodeName, (await kernel.node.addresses()).map(({ address }) => address)]]);
    deps.onNarrowed({ subjects: judged, nodes, memberships, groupsJudgeOwnNode: false });
  }

  async function move(links: readonly Link[], ours: ReadonlyMap<number, Judged>): Promise<boolean> {
    const moves = links.flatMap(({ index, group }) => {
      const to = groups.get(ours.get(index)?.key ?? "");
      // Below are links on their way out.
      return to === undefined || to === group || group < openGroup ? [] : [{ index, to }];
    });
    for (const { index, to } of moves) {
      await unlessGone(applyAll(kernel.node, [{ op: "link.set", link: index, group: to }]));
    }
    if (moves.length > 0) log.info({ pods: moves.length }, "pods changed their class");
    return moves.length > 0;
  }

  const turns = createTurns(pass);

  /** The class of a pod that is judged by the very same layers, which the kernel then holds. */
  const classOfTwin = (judged: Judged): number | undefined => {
    if (judged.egress.length + judged.ingress.length === 0) return openGroup;
    const twin = judgedLast.find((one) => one.key !== judged.key && sameLayers(one, judged));
    return twin && groups.get(twin.key);
  };

  return {
    sync: () => turns.next(),
    changed: (what) => {
      isStale ||= what === "cluster";
      isAsked = true;
    },
    doubt: () => {
      isDoubtful = true;
    },
    isWaiting: () => view() === undefined,
    ruleset: () => held,
    report: () => {
      const by = source.known() ? "cluster" : view() === undefined ? "nobody" : "kept";
      return policyReport({ by, judged: judgedLast, groups, objects: view()?.objects, factsOf: compiler.factsOf });
    },
    keepable: () =>
      source.known()
        ? {
            objects: source.objects(),
            memberships: source.memberships(),
            pods: subjects.pods(),
            classes: classes.kept(),
          }
        : undefined,
    groupOf: (id) => groups.get(attachmentKey(id)),
    enter: async (attachment, pod) => {
      subjects.remember(attachment, pod);
      const now = await viewWithin(view, source, deps.signal);
      const judged = subjects.one(attachment, now.objects);
      if (judged === undefined) return openGroup;
      const known = isStale || turns.isBusy() || held === undefined ? undefined : classOfTwin(judged);
      if (known === undefined) await turns.next();
      else groups.set(judged.key, known);
      return present(groups.get(judged.key), `class of ${judged.key}`);
    },
    settle: async (attachment) => {
      if (isStale) await turns.next();
      else await turns.idle();
      return groups.get(attachmentKey(attachment));
    },
  };
}

/**
 * Policy as the cluster tells it once it has told everything. Until then as it was kept, where the API server does not answer;
 * undefined while that is not sure, and where nothing was kept.
 */
function createView(source: PolicySource, kept: KeptPolicy | undefined): () => View | undefined {
  const startedMs = performance.now();
  const keptView = kept && { objects: readObjects(kept.objects), told: kept.memberships };
  return () => {
    if (!source.known()) {
      return source.failing() || performance.now() - startedMs > keptAfterMs ? keptView : undefined;
    }
    return { objects: source.read(), told: source.memberships() };
  };
}

/** @throws Fault "policy-unknown" where neither the cluster nor what was kept tells in time */
async function viewWithin(view: () => View | undefined, source: PolicySource, signal: AbortSignal): Promise<View> {
  const endMs = performance.now() + knownWithinMs;
  for (let now = view(); ; now = view()) {
    if (now !== undefined) return now;
    if (performance.now() >= endMs || signal.aborted) break;
    await pause(waitingMs, signal);
  }
  throw new Fault(
    "policy-unknown",
    `it is not known yet which policies judge this pod: ${source.missing()}; try again`,
  );
}

/** Starts the loop that keeps it. */
export function startPolicy({ sync, isWaiting }: Policy, signal: AbortSignal, onPass: (pass: LoopPass) => void): Loop {
  // Events of one cause come within a few milliseconds.
  return startLoop({
    name: "policy",
    minMs: 5,
    retryMs: 200,
    retryMaxMs: 10_000,
    maxMs: () => (isWaiting() ? waitingMs : 30_000),
    sync,
    signal,
    onPass,
  });
}

/** Whether something may pass by `before` that does not by `after`, of pods that keep their class. */
function isNarrower(before: PolicyRuleset | undefined, after: PolicyRuleset): boolean {
  if (before === undefined) return true;
  const classesDiffer = [...after.classes].some(([number, layers]) => {
    const held = before.classes.get(number);
    return held !== undefined && !isDeepStrictEqual(held, layers);
  });
  return classesDiffer || memberChanges(before, after).some(({ remove }) => remove.length > 0);
}

const sameLayers = (a: Judged, b: Judged): boolean =>
  a.egress.length === b.egress.length &&
  a.ingress.length === b.ingress.length &&
  a.egress.every((layer, index) => layer === b.egress[index]) &&
  a.ingress.every((layer, index) => layer === b.ingress[index]);

interface Turns {
  /** A pass that begins after this call. */
  next: () => Promise<void>;
  /** Settles when the pass under way, if any, has ended, however it ended. */
  idle: () => Promise<unknown>;
  isBusy: () => boolean;
}

/** One pass at a time; all who ask before the next one has begun share it. */
function createTurns(pass: () => Promise<void>): Turns {
  let running: Promise<unknown> = Promise.resolve();
  let waiting: Promise<void> | undefined;
  let busy = false;
  const begin = async (): Promise<void> => {
    waiting = undefined;
    busy = true;
    try {
      await pass();
    } finally {
      busy = false;
    }
  };
  return {
    next: () => {
      if (waiting !== undefined) return waiting;
      const next = running.then(begin);
      waiting = next;
      running = next.catch(() => undefined);
      return next;
    },
    idle: () => running,
    isBusy: () => busy,
  };
}
