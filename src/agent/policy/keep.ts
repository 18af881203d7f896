// Policy on this node: classes of its pods, what the kernel holds for them, and the class that each link carries.

import { isDeepStrictEqual } from "node:util";
import { present } from "../../base/assert.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Metrics } from "../../base/metrics.ts";
import { sameItems } from "../../base/same-items.ts";
import { createSharedPasses } from "../../base/shared-passes.ts";
import type { Pool } from "../../ipam/pool.ts";
import { type Attachment, attachmentKey } from "../../ipam/store.ts";
import type { Kernel, Link } from "../../kernel/contract.ts";
import { createCompiler } from "../../policy/compile.ts";
import { createClasses } from "../../policy/compile-classes.ts";
import { memberChanges, withCarried } from "../../policy/compile-changes.ts";
import { groupsMark } from "../../policy/mark.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import type { PolicyRuleset } from "../../policy/ruleset.ts";
import type { Judging } from "../cluster/judging.ts";
import type { NodeFault } from "../cluster/peers.ts";
import { openGroup } from "../plan.ts";
import { isNameless, nameReadBack } from "../rebuild.ts";
import { admit, isTaken, type Standing, withPod } from "./admission.ts";
import { createBypassLook } from "./bypass.ts";
import { createPolicyCounting, type PolicyCounting } from "./counting.ts";
import type { Cutting } from "./cut.ts";
import { createDue, type Look } from "./due.ts";
import { type Glass, glassFaults } from "./glass.ts";
import type { KeptPolicy } from "./kept.ts";
import { carriedBy, moveLinks, selfLinks, placedOn } from "./links.ts";
import { createMemberships, type OwnPods } from "./memberships.ts";
import type { FindOwner, FindPod, NameOf, PodPolicy } from "./pod-policy.ts";
import { policyReport, type PolicyReport } from "./report.ts";
import type { PolicySource } from "./sources.ts";
import { createSubjects, type Judged } from "./subjects.ts";
import { createUnguarded } from "./unguarded.ts";
import { createView, type View, viewWithin, waitingMs } from "./view.ts";

export interface PolicyDeps {
  kernel: Kernel;
  pool: Pool;
  nodeName: string;
  source: PolicySource;
  findPod: FindPod;
  findOwner: FindOwner;
  /** What a pod is called whose runtime did not name it; absent: such a one is not judged. */
  nameOf?: NameOf | undefined;
  /** What an earlier agent has left. */
  kept: KeptPolicy | undefined;
  log: Log;
  metrics: Pick<Metrics, "repaired">;
  signal: AbortSignal;
  /** As the agent's configuration has them. */
  keys: PolicyKeys;
  cutting: Pick<Cutting, "expect" | "judgeBy">;
  /** Hears by what the kernel judges, once it does. */
  judging: (now: Judging) => void;
  glass: Glass;
  /** What is annotated on the Node of break-glass; undefined where nothing is. */
  nodeBreakGlass: () => string | undefined;
  /** Told after each pass what the cluster is to hear of break-glass. */
  onBroken: (faults: readonly NodeFault[]) => void;
}

export interface Policy extends PodPolicy, Pick<PolicyCounting, "readings" | "answer"> {
  /** One pass. */
  sync: () => Promise<void>;
  /** Something that policy follows from has changed: what the cluster says, or which pods are attached. */
  changed: (what: "cluster" | "attachments") => void;
  /** Somebody else may have changed what the kernel holds. */
  doubt: () => void;
  /** When a pass is due, though nobody asks. */
  dueMs: () => number;
  report: () => PolicyReport;
  /** What the next agent is to have; undefined while the cluster has not told everything. */
  keepable: () => KeptPolicy | undefined;
}

/** Keeps the policy of the attachments of a pool. Nothing is done before the first pass. */
export function keepPolicy(deps: PolicyDeps): Policy {
  const { kernel, pool, nodeName, source, kept, keys, cutting, glass, log } = deps;
  const subjects = createSubjects({ ...deps, known: kept?.pods ?? new Map(), brokenNow: glass.brokenNow });
  const classes = createClasses(kept?.classes);
  const compiler = createCompiler();
  const membershipsOf = createMemberships();
  const unguarded = createUnguarded({ guard: kernel.guard, log });
  /** The class by which the kernel judges each attachment. */
  const groups = new Map<string, number>();
  /** As of the last pass, with the pods that came since. */
  let standing: Standing | undefined;
  const judgedNow = (): readonly Judged[] => standing?.model.subjects ?? [];
  const view = createView(source, kept, keys);
  const clock = (): number => performance.now();
  const counting = createPolicyCounting({ table: kernel.policy, factsOf: compiler.factsOf, log, clock });
  const bypass = createBypassLook({ kernel, pool, log, clock });
  const due = createDue(clock);

  async function pass(): Promise<void> {
    // Pods are judged otherwise from then on, as if the cluster had said so.
    if (glass.untilEdgeMs() === 0) due.changed("cluster");
    const look = due.begin();
    try {
      const now = view();
      if (now === undefined) {
        due.everything();
        return void (await kernel.policy.prepare());
      }
      const mark = source.known() ? groupsMark(source.objects().groups) : undefined;
      const links = await passBy(now, look);
      deps.judging({ groups: groupsTold(mark, judgedNow()), bypass: await bypass(links) });
    } catch (error) {
      // It may have gone half the way: what had been open before is looked for when it has gone the whole of it.
      due.everything();
      throw error;
    }
  }

  /** Gives the links that it saw. */
  async function passBy({ objects, told, listed }: View, look: Look): Promise<readonly Link[]> {
    nameReadBack(pool, (one) => keptOwner(one, kept) ?? deps.findOwner(one), log);
    glass.noteEdges(objects);
    const judged = subjects.of(pool.all(), objects);
    const own = ownPods(judged, listed); // before anything is awaited: `listed` is as of now, and fits `told`
    const { node } = kernel;
    const [links, nodeAddresses, open] = await Promise.all([node.links(), node.addresses(), unguarded.open()]);
    const placed = placedOn(links, judged);
    const carried = carriedBy(links, pool);
    const assigned = classes.assign(judged, carried);
    const memberships = membershipsOf(told, own, objects);
    const selves = new Set(selfLinks(judged));
    const ruleset = compiler.compile({ subjects: assigned, memberships, links: selves, ...keys });
    // Links that are outside the guard until it follows, below.
    const meanwhile = selves.isDisjointFrom(open) ? ruleset : { ...ruleset, links: selves.difference(open) };
    const nodes = new Map([[nodeName, nodeAddresses.map(({ address }) => address)]]);
    const model = { subjects: judged, nodes, memberships, ...keys };
    cutting.expect(model);
    // What links still carry stays until they are moved.
    const before = standing?.held;
    const both = before === undefined ? meanwhile : withCarried(before, meanwhile, carried);
    counting.know(judged, ruleset);
    const wasDamaged = await hold(both, { before, look }, deps);
    standing = { model, held: both };
    groups.clear();
    for (const { subject, classNumber } of assigned) groups.set(subject.key, classNumber);
    deps.onBroken(glassFaults(judged, glass));
    const moved = await moveLinks(placed, groups, deps);
    await unguarded.follow(judged);
    if (both !== ruleset) await kernel.policy.ensure(ruleset, "as left");
    standing = { model, held: ruleset };
    counting.settle();
    const isCutDue = due.takeCut();
    cutting.judgeBy(model, isCutDue || moved || wasDamaged || isNarrower(before, ruleset, judged));
    return links;
  }

  const turns = createSharedPasses(pass);

  const passForPod = (): Promise<void> => {
    due.changed("attachments"); // else it would be a look at all that the kernel holds
    return turns.next();
  };

  /** Admits the pod without a pass. What is known has it at once: a walk must not cut what the kernel is about to let it do. */
  const join = async (judged: Judged, objects: ReadObjects): Promise<void> => {
    const joined = withPod(present(standing, "a pass"), judged, objects);
    ({ standing } = joined);
    cutting.judgeBy(standing.model, false);
    if (!(await admit(kernel.policy, judged, joined.add, due.everything))) await passForPod();
  };

  /** The class of a pod that is judged by the very same layers, which the kernel then holds. */
  const classOfTwin = (judged: Judged, listed: View["listed"]): number | undefined => {
    if (due.isStale() || turns.isBusy() || standing === undefined || isTaken(standing, judged, listed))
      return undefined;
    if (judged.egress.length + judged.ingress.length === 0) return openGroup;
    const twin = judgedNow().find((one) => one.key !== judged.key && sameLayers(one, judged));
    return twin && groups.get(twin.key);
  };

  return {
    sync: () => turns.next(),
    changed: due.changed,
    doubt: due.doubt,
    linkRepaired: due.cut,
    dueMs: () => (view() === undefined ? waitingMs : Math.min(due.lookMs(), glass.untilEdgeMs())),
    report: () => reportNow(deps, view(), standing, { groups, factsOf: compiler.factsOf }),
    readings: counting.readings,
    answer: counting.answer,
    keepable: () => (source.known() ? keptNow(deps, { pods: subjects.pods(), classes: classes.kept() }) : undefined),
    untilKnown: async () => void (await viewWithin(view, source, deps.signal)),
    groupOf: (id) => groups.get(attachmentKey(id)),
    isUnguarded: unguarded.isUnguarded,
    enter: async (attachment, pod) => {
      subjects.remember(attachment, pod);
      await viewWithin(view, source, deps.signal);
      if (attachment.pod !== undefined) await source.heardOf(attachment.pod.namespace);
      const { objects, listed } = await viewWithin(view, source, deps.signal);
      const judged = subjects.one(attachment, objects);
      if (judged === undefined) return { group: openGroup, listed: Promise.resolve() };
      unguarded.note(judged);
      const known = classOfTwin(judged, listed);
      if (known === undefined) {
        await passForPod();
        return { group: present(groups.get(judged.key), `class of ${judged.key}`), listed: Promise.resolve() };
      }
      groups.set(judged.key, known);
      return { group: known, listed: join(judged, objects) };
    },
    settle: async (attachment) => {
      await turns.idle();
      if (due.isStale()) await turns.next();
      return groups.get(attachmentKey(attachment));
    },
  };
}

function reportNow(
  { source, pool, glass }: Pick<PolicyDeps, "source" | "pool" | "glass">,
  now: View | undefined,
  standing: Standing | undefined,
  made: Pick<Parameters<typeof policyReport>[0], "groups" | "factsOf">,
): PolicyReport {
  const by = source.known() ? "cluster" : now === undefined ? "nobody" : "kept";
  const nameless = pool.all().filter(({ attachment }) => isNameless(attachment)).length;
  const { subjects: judged = [], memberships = new Map() } = standing?.model ?? {};
  return policyReport({ by, nameless, judged, memberships, ...made, objects: now?.objects, glass });
}

/**
 * Has the kernel hold `ruleset`. Where a look is due, what others did to what it was to hold before is looked for apart from what the pass
 * is for. Gives whether there was any, or a table was missed that nobody had looked for.
 */
async function hold(
  ruleset: PolicyRuleset,
  { before, look }: { before: PolicyRuleset | undefined; look: Look },
  { kernel: { policy }, metrics }: Pick<PolicyDeps, "kernel" | "metrics">,
): Promise<boolean> {
  const isApart = look.isDue && look.isSettled && before !== undefined;
  const wasFound = isApart && (await policy.ensure(before));
  await policy.ensure(ruleset, look.isDue && !isApart ? undefined : "as left");
  const wasDamaged = policy.wasMissed() || wasFound; // an ADD may have missed it, too
  if (wasDamaged) metrics.repaired("policy", 1);
  return wasDamaged;
}

/** What the cluster is to hear of the groups by which pods are judged; `mark`: of what it has said of them. */
function groupsTold(mark: string | undefined, judged: readonly Judged[]): Judging["groups"] {
  if (mark === undefined) return "as told";
  const isJudged = judged.some(({ egress, ingress }) => [...egress, ...ingress].some(({ kind }) => kind === "groups"));
  return isJudged ? { mark } : "in none";
}

/** What the word is now, with what was made of it. */
function keptNow(
  { source, nodeBreakGlass }: Pick<PolicyDeps, "source" | "nodeBreakGlass">,
  made: Pick<KeptPolicy, "pods" | "classes">,
): KeptPolicy {
  return {
    objects: source.objects(),
    memberships: source.memberships(),
    ...made,
    nodeBreakGlass: nodeBreakGlass(),
  };
}

function keptOwner(attachment: Attachment, kept: KeptPolicy | undefined): Attachment["pod"] {
  const pod = kept?.pods.get(attachmentKey(attachment));
  return pod && { namespace: pod.namespace, name: pod.name, uid: pod.uid };
}

function ownPods(judged: readonly Judged[], listed: View["listed"]): OwnPods {
  const addresses = judged.flatMap(({ attachment }) => attachment.addresses);
  return {
    pods: judged.filter(({ isKnown }) => isKnown).map(({ pod }) => pod),
    addresses: new Set(addresses.filter((address) => listed?.has(address) ?? true)),
  };
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
function isNarrower(
  before: PolicyRuleset | undefined,
  after: PolicyRuleset,
  judged: Iterable<Pick<Judged, "attachment" | "isUnguarded">>,
): boolean {
  if (before === undefined) return true;
  for (const { attachment, isUnguarded } of judged) {
    if (isUnguarded && before.links.has(attachment.wire.hostLink)) return true;
  }
  const classesDiffer = [...after.classes].some(([number, layers]) => {
    const held = before.classes.get(number);
    return held !== undefined && !isDeepStrictEqual(held, layers);
  });
  return classesDiffer || memberChanges(before, after).some(({ remove }) => remove.length > 0);
}

const sameLayers = (a: Judged, b: Judged): boolean => sameItems(a.egress, b.egress) && sameItems(a.ingress, b.ingress);
