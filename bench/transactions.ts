// What changes of policy cost the kernel: one pod, one member, one class, in tables of several sizes in turn; and the load of a full one.

import { execOk } from "../lab/exec.ts";
import { podNetns } from "../lab/layout.ts";
import { makeNetns, netnsPath } from "../lab/netns.ts";
import type { Lab } from "../lab/record.ts";
import { present } from "../src/base/assert.ts";
import { type Addon, loadAddon } from "../src/kernel/addon.ts";
import type { MemberChanges, PolicyTable } from "../src/kernel/contract.ts";
import { createSequence } from "../src/kernel/netlink/message.ts";
import { createPolicyTable } from "../src/kernel/nftables/policy.ts";
import { addressAt, parseCidr } from "../src/net/cidr.ts";
import { type Classed, createCompiler, type Compiler } from "../src/policy/compile.ts";
import { elementsOf } from "../src/policy/compile-sets.ts";
import type { Member, MemberParts, Memberships } from "../src/policy/model.ts";
import type { PolicyRuleset } from "../src/policy/ruleset.ts";
import { inOwnLab } from "./own-lab.ts";
import { makeLayer, makeMembers, makeMemberships, membershipKey, partsOf } from "./policy-rules.ts";

export interface TransactionsOptions {
  name: string;
  rules: number;
  /** Each combination is a table of its own. */
  members: readonly number[];
  classes: readonly number[];
  rounds: number;
  /** Pods, each with rules of its own, and addresses of the table that is loaded whole, and how often it is. */
  load: { pods: number; members: number; times: number };
  signal: AbortSignal;
  onRound: (round: number) => void;
}

export const changes = ["pod admitted", "pod removed", "member added", "class added", "class removed"] as const;
export type Change = (typeof changes)[number];

/** In ms. `kernel`: in the kernel, and on the way there and back; `whole`: until the change is made, with all that is thought of. */
export interface Took {
  kernel: number[];
  whole: number[];
}

export interface SizeResult {
  members: number;
  classes: number;
  took: Readonly<Record<Change, Took>>;
}

export interface TransactionsResult {
  sizes: SizeResult[];
  /** `whole` with what it takes to make the ruleset. */
  load: Took;
}

const callTimeoutMs = 60_000;
const netfilter = { protocol: 12, lane: 1 } as const;
/** Layers that classes share: of NetworkPolicy, and of groups. */
const [policyLayers, groupLayers] = [11, 10];
/** A pod is in so many memberships: with two families, and its own link, its admission adds 13 elements. */
const podMemberships = 6;
/** Of those that are not as large as the table is to be. */
const smallMembers = 100;

/** @throws Fault "lab-failed" where there is no lab, "kernel-…" where a table cannot be made */
export async function measureTransactions(options: TransactionsOptions): Promise<TransactionsResult> {
  const { name, members, classes, rounds, signal, onRound } = options;
  return inOwnLab(name, async (lab, atEnd) => {
    const addon = loadAddon();
    atEnd(async () => {
      await schedule(lab, ["--other", "0"]);
      addon.stop();
    });
    const sizes: Size[] = [];
    for (const classCount of classes)
      for (const memberCount of members)
        sizes.push(await makeSize(lab, addon, { ...options, memberCount, classCount }));
    await schedule(lab, ["--fifo", "--reset-on-fork", "1"]);
    for (let round = 0; round < rounds; round += 1) {
      signal.throwIfAborted();
      for (const at of sizes.keys()) await changeAll(present(sizes[(at + round) % sizes.length], "a size"), round);
      onRound(round + 1);
    }
    return { sizes: sizes.map(({ result }) => result), load: await measureLoad(lab, addon, options) };
  });
}

/** How all threads of this program are scheduled: by the first, nothing else on the machine takes a processor from them. */
const schedule = (lab: Lab, [policy = "", ...rest]: readonly string[]): Promise<string> => {
  const priority = rest.at(-1) ?? "";
  return execOk("chrt", ["--all-tasks", policy, ...rest.slice(0, -1), "--pid", priority, String(process.pid)], {
    env: lab.env,
  });
};

/** A policy table in a namespace of its own, and how long its calls have taken since `restart`. */
interface Timed {
  policy: PolicyTable;
  restart: () => void;
  kernelMs: () => number;
}

async function openTable(lab: Lab, addon: Addon, name: string): Promise<Timed> {
  const netns = podNetns(lab.name, name);
  await makeNetns(lab, netns);
  const socket = addon.openNetlink(addon.openNetns(netnsPath(netns)), netfilter.protocol);
  let spentMs = 0;
  const call = async (request: Uint8Array): Promise<Buffer> => {
    const startedMs = performance.now();
    try {
      return await addon.call(netfilter.lane, socket, request, callTimeoutMs);
    } finally {
      spentMs += performance.now() - startedMs;
    }
  };
  return {
    policy: createPolicyTable({ call, nextSequence: createSequence() }),
    restart: () => (spentMs = 0),
    kernelMs: () => spentMs,
  };
}

interface Size extends Timed {
  result: SizeResult;
  compile: (extraClass?: boolean) => PolicyRuleset;
  memberships: Memberships;
}

async function makeSize(
  lab: Lab,
  addon: Addon,
  { rules, memberCount, classCount }: TransactionsOptions & { memberCount: number; classCount: number },
): Promise<Size> {
  const compiler = createCompiler();
  const keys = Array.from({ length: podMemberships }, (_, number) => membershipKey(number));
  const large = makeMembers(memberCount - smallMembers * (podMemberships - 1));
  const memberships = new Map(
    keys.map((key, index): [typeof key, MemberParts] => [
      key,
      partsOf(index === 0 ? large : makeMembers(smallMembers)),
    ]),
  );
  const layersOf = (direction: "egress" | "ingress") => ({
    policies: Array.from({ length: policyLayers }, (_, variant) =>
      makeLayer({ kind: "networkPolicy", direction, rules, variant, memberships: keys }),
    ),
    groups: Array.from({ length: groupLayers }, (_, variant) =>
      makeLayer({ kind: "groups", direction, rules, variant: policyLayers + variant, memberships: keys }),
    ),
  });
  const [egress, ingress] = [layersOf("egress"), layersOf("ingress")];
  // Ten classes have as many layers as 110 have: what the kernel goes through for a change is nearly the same.
  const pick = ({ policies, groups }: typeof egress, number: number) => [
    present(policies[number % policyLayers], "a layer"),
    present(groups[(Math.floor(number / policyLayers) + (number % policyLayers)) % groupLayers], "a layer"),
  ];
  const classOf = (number: number, [sends, isSent]: readonly [number, number]): Classed => ({
    subject: { egress: pick(egress, sends), ingress: pick(ingress, isSent) },
    classNumber: 101 + number,
  });
  const some = Array.from({ length: classCount }, (_, number) => classOf(number, [number, number]));
  // For what it sends as one class, for what it is sent as another: all of it is there, but not together.
  const extra = classOf(classCount, [0, 1]);
  const links = new Set(["fl0"]);
  const compile = (withExtra = false): PolicyRuleset => {
    const subjects = withExtra ? [...some, extra] : some;
    return compiler.compile({ subjects, memberships, links, groupsJudgeOwnNode: false });
  };
  const timed = await openTable(lab, addon, `${memberCount}-${classCount}`);
  await timed.policy.ensure(compile());
  const empty = (): Took => ({ kernel: [], whole: [] });
  const took: Record<Change, Took> = {
    "pod admitted": empty(),
    "pod removed": empty(),
    "member added": empty(),
    "class added": empty(),
    "class removed": empty(),
  };
  return { ...timed, result: { members: memberCount, classes: classCount, took }, compile, memberships };
}

/** Each change once; on return the table is as it was. */
async function changeAll(size: Size, round: number): Promise<void> {
  const { policy, compile, memberships } = size;
  const link = `fl${round + 1}`;
  const [own, other] = [membersOf(round, 1), membersOf(round, 2)];
  const base = compile();
  const ofPod = elementsIn(base, memberships, own);
  const first = elementsIn(base, new Map([[membershipKey(0), []]]), other.slice(0, 1));
  // What the agent does, without a pass over all that it knows.
  await timed(size, "pod admitted", () => policy.admit([link], ofPod));
  // By a pass, as its attachment is found to be gone.
  await timed(size, "pod removed", () => policy.ensure(base, "as left"));
  await timed(size, "member added", () => policy.change({ add: first }));
  await policy.change({ remove: first });
  await timed(size, "class added", () => policy.ensure(compile(true), "as left"));
  await timed(size, "class removed", () => policy.ensure(compile(), "as left"));
}

async function timed(size: Size, change: Change, work: () => Promise<unknown>): Promise<void> {
  size.restart();
  const startedMs = performance.now();
  await work();
  const { kernel, whole } = size.result.took[change];
  kernel.push(size.kernelMs());
  whole.push(performance.now() - startedMs);
}

/** Where pods and members come from that are not there yet. */
const strangers = ["10.200.0.0/16", "fd00:200::/64"].map((text) => present(parseCidr(text), text));

/** An address of each family that nobody has. */
function membersOf(round: number, which: 1 | 2): Member[] {
  return strangers.map((range) => ({ address: addressAt(range, BigInt(2 * round + which)), ports: [] }));
}

function elementsIn(ruleset: PolicyRuleset, memberships: Memberships, members: readonly Member[]): MemberChanges {
  return new Map(
    [...ruleset.memberSets].flatMap(([name, set]) => {
      const elements = memberships.has(set.membership) ? elementsOf(set, members) : [];
      return elements.length === 0 ? [] : [[name, elements] as const];
    }),
  );
}

/** A node whose pods all have rules of their own, from nothing. */
async function measureLoad(
  lab: Lab,
  addon: Addon,
  { rules, load: { pods, members, times }, signal }: TransactionsOptions,
): Promise<Took> {
  const took: Took = { kernel: [], whole: [] };
  const table = await openTable(lab, addon, "load");
  const keys = Array.from({ length: podMemberships }, (_, number) => membershipKey(number));
  const memberships = makeMemberships(keys, members);
  for (let time = 0; time < times; time += 1) {
    signal.throwIfAborted();
    await table.policy.prune();
    table.restart();
    const startedMs = performance.now();
    await table.policy.ensure(fullNode(createCompiler(), { pods, rules, memberships }));
    took.kernel.push(table.kernelMs());
    took.whole.push(performance.now() - startedMs);
  }
  await table.policy.prune();
  return took;
}

function fullNode(
  compiler: Compiler,
  { pods, rules, memberships }: { pods: number; rules: number; memberships: Memberships },
): PolicyRuleset {
  const subjects = Array.from({ length: pods }, (_, pod): Classed => {
    // Half of the rules are about what the pod sends, half about what it is sent.
    const layer = (direction: "egress" | "ingress") =>
      makeLayer({ kind: "groups", direction, rules: rules / 2, variant: pod, memberships: [...memberships.keys()] });
    return { subject: { egress: [layer("egress")], ingress: [layer("ingress")] }, classNumber: 101 + pod };
  });
  return compiler.compile({ subjects, memberships, links: new Set(["fl0"]), groupsJudgeOwnNode: false });
}
