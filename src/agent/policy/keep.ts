// Policy on this node: classes of its pods, what the kernel holds for them, and the class that each link carries.

import { isDeepStrictEqual } from "node:util";
import { present } from "../../base/assert.ts";
import { isFault } from "../../base/fault.ts";
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
import { elementsOf } from "../../policy/compile-sets.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import { indexMembers } from "../../policy/members.ts";
import type { Memberships } from "../../policy/model.ts";
import { neededMemberships, type ReadObjects } from "../../policy/read-objects.ts";
import type { PolicyRuleset } from "../../policy/ruleset.ts";
import type { NodeFault } from "../cluster/peers.ts";
import { openGroup } from "../plan.ts";
import { unlessGone } from "../wire.ts";
import type { Cutting } from "./cut.ts";
import { type Glass, glassFaults } from "./glass.ts";
import type { KeptPolicy } from "./kept.ts";
import { createMemberships, type OwnPods } from "./memberships.ts";
import type { FindPod, PodPolicy } from "./pod-policy.ts";
import { policyReport, type PolicyReport } from "./report.ts";
import type { PolicySource } from "./sources.ts";
import { createSubjects, type Judged } from "./subjects.ts";
import { createUnguarded } from "./unguarded.ts";
import { createTurns } from "./turns.ts";
import { createView, type View, viewWithin, waitingMs } from "./view.ts";

/** The kernel is looked at that often, whoever asks. */
const lookEveryMs = 30_000;

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
  /** As the agent's configuration has them. */
  keys: PolicyKeys;
  cutting: Pick<Cutting, "expect" | "judgeBy">;
  glass: Glass;
  /** What is annotated on the Node of break-glass; undefined where nothing is. */
  nodeBreakGlass: () => string | undefined;
  /** Told after each pass what the cluster is to hear of break-glass. */
  onBroken: (faults: readonly NodeFault[]) => void;
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
  /** When a pass is due, though nobody asks. */
  dueMs: () => number;
  report: () => PolicyReport;
  /** What the next agent is to have; undefined while the cluster has not told everything. */
  keepable: () => KeptPolicy | undefined;
}

/** Keeps the policy of the attachments of a pool. Nothing is done before the first pass. */
export function keepPolicy(deps: PolicyDeps): Policy {
  const { kernel, pool, nodeName, source, findPod, kept, keys, metrics, cutting, glass } = deps;
  const subjects = createSubjects({ nodeName, findPod, known: kept?.pods ?? new Map(), brokenNow: glass.brokenNow });
  const classes = createClasses(kept?.classes);
  const compiler = createCompiler();
  const membershipsOf = createMemberships();
  const unguarded = createUnguarded({ guard: kernel.guard, log: deps.log });
  /** The class by which the kernel judges each attachment. */
  const groups = new Map<string, number>();
  /** The pods of the last pass, by whose layers the kernel judges. */
  let judgedLast: readonly Judged[] = [];
  let knownLast: Memberships = new Map();
  let held: PolicyRuleset | undefined;
  const view = createView(source, kept, keys);
  /**
   * What the next pass has to do. `stale`: take in what the cluster has said. `asked`: anything at all; else it is a look at the kernel.
   * `look`: see what the kernel holds, whatever it was told. `cut`: have connections looked for that should not be.
   */
  const due = { stale: true, asked: true, look: true, cut: true };

  async function pass(): Promise<void> {
    // Pods are judged otherwise from then on, as if the cluster had said so.
    if (glass.untilEdgeMs() === 0) Object.assign(due, { stale: true, asked: true });
    const look = { isDue: due.look || !due.asked, isAll: !due.asked };
    Object.assign(due, { stale: false, asked: false, look: false });
    try {
      const now = view();
      if (now === undefined) return void (await kernel.policy.prepare());
      await passBy(now, look);
    } catch (error) {
      // It may have gone half the way: what had been open before is looked for when it has gone the whole of it.
      Object.assign(due, { stale: true, asked: true, look: true, cut: true });
      throw error;
    }
  }

  async function passBy({ objects, told }: View, look: { isDue: boolean; isAll: boolean }): Promise<void> {
    glass.noteEdges(objects);
    const judged = subjects.of(pool.all(), objects);
    const [links, nodeAddresses] = await Promise.all([kernel.node.links(), kernel.node.addresses()]);
    const placed = placedOn(links, judged);
    const carried = new Set(placed.map(({ group }) => group).filter((group) => group >= firstClass));
    const assigned = classes.assign(judged, carried);
    const memberships = membershipsOf(told, ownPods(judged), objects);
    const ruleset = compiler.compile({
      subjects: assigned,
      memberships,
      links: new Set(judged.map(({ attachment }) => attachment.wire.hostLink)),
      ...keys,
    });
    const nodes = new Map([[nodeName, nodeAddresses.map(({ address }) => address)]]);
    const model = { subjects: judged, nodes, memberships, ...keys };
    cutting.expect(model);
    // What links still carry stays until they are moved.
    const before = held;
    const both = before === undefined ? ruleset : withCarried(before, ruleset, carried);
    const hasChanged = await kernel.policy.ensure(both, look.isDue ? undefined : "as left");
    held = both;
    groups.clear();
    for (const { subject, classNumber } of assigned) groups.set(subject.key, classNumber);
    judgedLast = judged;
    deps.onBroken(glassFaults(judged, glass));
    knownLast = memberships;
    const moved = await moveLinks(placed, groups, deps);
    await unguarded.follow(judged);
    if (both !== ruleset) await kernel.policy.ensure(ruleset, "as left");
    held = ruleset;
    if (hasChanged && look.isAll) metrics.repaired("policy", 1);
    const wasDamaged = hasChanged && look.isDue;
    cutting.judgeBy(model, due.cut || moved || wasDamaged || isNarrower(before, ruleset));
    due.cut = false;
  }

  const turns = createTurns(pass);

  /** The class of a pod that is judged by the very same layers, which the kernel then holds. */
  const classOfTwin = (judged: Judged): number | undefined => {
    if (due.stale || turns.isBusy() || held === undefined) return undefined;
    if (judged.egress.length + judged.ingress.length === 0) return openGroup;
    const twin = judgedLast.find((one) => one.key !== judged.key && sameLayers(one, judged));
    return twin && groups.get(twin.key);
  };

  return {
    sync: () => turns.next(),
    changed: (what) => {
      due.stale ||= what === "cluster";
      due.asked = true;
    },
    doubt: () => {
      due.look = true;
    },
    linkRepaired: () => {
      due.cut = true;
      due.asked = true;
    },
    isWaiting: () => view() === undefined,
    dueMs: () => (view() === undefined ? waitingMs : Math.min(lookEveryMs, glass.untilEdgeMs())),
    report: () => {
      const now = view();
      const by = source.known() ? "cluster" : now === undefined ? "nobody" : "kept";
      const last = { judged: judgedLast, memberships: knownLast, groups };
      return policyReport({ by, ...last, objects: now?.objects, factsOf: compiler.factsOf, glass });
    },
    keepable: () =>
      source.known()
        ? {
            objects: source.objects(),
            memberships: source.memberships(),
            pods: subjects.pods(),
            classes: classes.kept(),
            nodeBreakGlass: deps.nodeBreakGlass(),
          }
        : undefined,
    groupOf: (id) => groups.get(attachmentKey(id)),
    isUnguarded: unguarded.isUnguarded,
    enter: async (attachment, pod) => {
      subjects.remember(attachment, pod);
      const { objects } = await viewWithin(view, source, deps.signal);
      const judged = subjects.one(attachment, objects);
      if (judged === undefined) return openGroup;
      unguarded.note(judged);
      const known = classOfTwin(judged);
      if (known === undefined || held === undefined || !(await admitted(judged, { kernel, held, objects }))) {
        await turns.next();
        return present(groups.get(judged.key), `class of ${judged.key}`);
      }
      groups.set(judged.key, known);
      return known;
    },
    settle: async (attachment) => {
      await turns.idle();
      if (due.stale) await turns.next();
      return groups.get(attachmentKey(attachment));
    },
  };
}

/** The node's links of judged pods, each with its pod. */
interface Placed extends Pick<Link, "index" | "group"> {
  judged: Judged;
}

function placedOn(links: readonly Link[], judged: readonly Judged[]): Placed[] {
  const byIndex = new Map(judged.map((one) => [one.attachment.wire.hostIndex, one]));
  return links.flatMap(({ index, group }) => {
    const one = byIndex.get(index);
    return one === undefined ? [] : [{ index, group, judged: one }];
  });
}

function ownPods(judged: readonly Judged[]): OwnPods {
  return {
    pods: judged.filter(({ isKnown }) => isKnown).map(({ pod }) => pod),
    addresses: new Set(judged.flatMap(({ attachment }) => attachment.addresses)),
  };
}

/** Gives each link its pod's class; true where one had another. */
async function moveLinks(
  placed: readonly Placed[],
  groups: ReadonlyMap<string, number>,
  { kernel, pool, log }: Pick<PolicyDeps, "kernel" | "pool" | "log">,
): Promise<boolean> {
  let moved = 0;
  for (const { index, group, judged } of placed) {
    const to = groups.get(judged.key);
    // Below are links on their way out.
    if (to === undefined || to === group || group < openGroup) continue;
    // Looked at again now: a link that DEL has doomed meanwhile stays so.
    const held = pool.find(judged.attachment);
    if (held?.attachment !== judged.attachment || held.leaving) continue;
    await unlessGone(applyAll(kernel.node, [{ op: "link.set", link: index, group: to }]));
    moved += 1;
  }
  if (moved > 0) log.info({ pods: moved }, "pods changed their class");
  return moved > 0;
}

/** Puts a pod into the sets that the kernel holds, without a pass; false where that cannot be. A pod that nothing judges is denied nothing. */
async function admitted(
  { pod, attachment, isKnown, egress, ingress }: Judged,
  { kernel, held, objects }: { kernel: Kernel; held: PolicyRuleset; objects: ReadObjects },
): Promise<boolean> {
  const index = indexMembers(isKnown ? [pod] : [], objects);
  const members = new Map(neededMemberships(objects).map((one) => [one.key, index.membersOf(one)]));
  const add = new Map(
    [...held.memberSets].flatMap(([name, set]) => {
      const elements = elementsOf(set, members.get(set.membership) ?? []);
      return elements.length === 0 ? [] : [[name, elements] as const];
    }),
  );
  try {
    await Promise.all([
      ...(add.size === 0 ? [] : [kernel.policy.change({ add })]),
      ...(egress.length + ingress.length === 0 ? [] : [kernel.policy.admit([attachment.wire.hostLink])]),
    ]);
    return true;
  } catch (error) {
    if (isFault(error, "kernel-missing")) return false;
    throw error;
  }
}

/** Starts the loop that keeps it. */
export function startPolicy({ sync, dueMs }: Policy, signal: AbortSignal, onPass: (pass: LoopPass) => void): Loop {
  return startLoop({
    name: "policy",
    minMs: 5, // events of one cause come within a few milliseconds
    retryMs: 200,
    retryMaxMs: 10_000,
    maxMs: dueMs,
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
