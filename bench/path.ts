// What policy costs packets: connections, round trips and bytes between pods, under policy, with connection tracking alone, and without it, in turn.

import { type Cluster, startCluster } from "../lab/cluster.ts";
import { execOk } from "../lab/exec.ts";
import { type NodeLayout, planCluster } from "../lab/layout.ts";
import { netnsPath } from "../lab/netns.ts";
import type { Lab } from "../lab/record.ts";
import { all } from "../lab/waiting.ts";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { silentLog } from "../src/base/log.ts";
import type { GuardEntry, Kernel } from "../src/kernel/contract.ts";
import { openKernel } from "../src/kernel/kernel.ts";
import type { Ip } from "../src/net/ip.ts";
import { createCompiler } from "../src/policy/compile.ts";
import type { PolicyRuleset } from "../src/policy/ruleset.ts";
import { inOwnLab } from "./own-lab.ts";
import { makeLayer, makeMemberships, membershipKey, middlePort } from "./policy-rules.ts";
import { percentile } from "./report.ts";
import { type Caller, startCaller, startTrafficServer, type TrafficKind, trafficKinds } from "./traffic.ts";

/**
 * none: no connection tracking, no guard. tracking: connection tracking, as anything on a node that knows connections has it.
 * open: our guard and our table, no policy about the pods. policy: all of it.
 */
export const variants = ["none", "tracking", "open", "policy"] as const;
export type Variant = (typeof variants)[number];

export const ways = ["one node", "two nodes"] as const;
export type Way = (typeof ways)[number];

export interface PathOptions {
  name: string;
  /** Rules of each of the four judgements, and addresses in memberships. */
  rules: number;
  members: number;
  /** Each variant is made and measured once in a round; who comes first changes. */
  rounds: number;
  signal: AbortSignal;
  onRound: (round: number) => void;
}

/** Rates in a second, one a round. */
export type PathResult = Readonly<Record<Way, Record<TrafficKind, Record<Variant, number[]>>>>;

/** Of one variant in one round: so many slices of each kind, of which the fastest tenth begins at the one that counts: what else the machine does only slows. */
const [slices, sliceMs, warmUpMs] = [16, 20, 30];
const fastest = 0.9;

/** Groups of pods' links: of those that nothing judges, and of all others. */
const [openGroup, podClass] = [100, 101];
const family = 4;

/** @throws Fault "lab-failed" where anything does not work */
export async function measurePath(options: PathOptions): Promise<PathResult> {
  const { name, rounds, signal, onRound } = options;
  return inOwnLab(name, async (lab, atEnd) => {
    const plan = planCluster({ lab: name, nodes: 2, families: [4, 6], gateway: true });
    const cluster = await startCluster(lab, plan);
    const scene = await setScene(cluster, options, atEnd);
    const result = emptyResult();
    for (let round = 0; round < rounds; round += 1) {
      for (const variant of variants.map((_, at) => present(variants[(at + round) % variants.length], "a variant"))) {
        signal.throwIfAborted();
        await all(scene.machines.map((machine) => become(lab, machine, variant, scene.ruleset)));
        await measureAll(scene, variant, result);
      }
      onRound(round + 1);
    }
    return result;
  });
}

interface Machine {
  layout: NodeLayout;
  kernel: Kernel;
  /** What the guard lets its pods send. */
  guarded: readonly GuardEntry[];
}

interface Scene {
  machines: readonly Machine[];
  ruleset: PolicyRuleset;
  caller: Caller;
  /** Whom it calls, by way. */
  servers: Readonly<Record<Way, Ip>>;
  port: number;
}

/** Attached by agents, which are stopped then: from there on nobody but this program changes what the kernel holds. */
async function setScene(
  cluster: Cluster,
  { rules, members }: PathOptions,
  atEnd: (end: () => void) => void,
): Promise<Scene> {
  const { lab } = cluster;
  await cluster.addPod("caller", { node: "node-1" });
  await cluster.addPod("near", { node: "node-1" });
  await cluster.addPod("far", { node: "node-2" });
  const machines: Machine[] = [];
  for (const [, node] of cluster.nodes) {
    await node.stopAgent();
    const kernel = openKernel({ nodeNetns: netnsPath(node.layout.netns), log: silentLog() });
    atEnd(() => kernel.close());
    const guarded = present(await kernel.guard.list(), "the source guard");
    machines.push({ layout: node.layout, kernel, guarded });
  }
  const addresses = [...cluster.pods.values()].flatMap((pod) => Object.values(pod.addresses));
  const port = middlePort(rules);
  for (const name of ["near", "far"]) {
    const server = await startTrafficServer(lab, cluster.pod(name).netns, port);
    atEnd(() => server.end());
  }
  const caller = await startCaller(lab, cluster.pod("caller").netns);
  atEnd(() => caller.end());
  const addressOf = (name: string): Ip => present(cluster.pod(name).addresses[family], "an address");
  return {
    machines,
    ruleset: bigRuleset(rules, members, addresses, machines),
    caller,
    servers: { "one node": addressOf("near"), "two nodes": addressOf("far") },
    port,
  };
}

/** Every pod is judged by NetworkPolicy and groups in both directions; the rule that lets the traffic pass is one in the middle. */
function bigRuleset(
  rules: number,
  members: number,
  addresses: readonly Ip[],
  machines: readonly Machine[],
): PolicyRuleset {
  const keys = [membershipKey(0)];
  const layers = (direction: "egress" | "ingress") =>
    (["networkPolicy", "groups"] as const).map((kind) => makeLayer({ kind, direction, rules, memberships: keys }));
  return createCompiler().compile({
    subjects: [{ subject: { egress: layers("egress"), ingress: layers("ingress") }, classNumber: podClass }],
    memberships: makeMemberships(keys, members, addresses),
    links: new Set(machines.flatMap(({ guarded }) => guarded.map(({ link }) => link))),
    groupsJudgeOwnNode: false,
  });
}

/** What every node does that tracks connections at all. */
const trackingText = `table inet bench {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state vmap { established : accept, related : accept }
  }
}
`;

/** Takes everything away, connections too, and makes the variant. */
async function become(
  lab: Lab,
  { layout, kernel, guarded }: Machine,
  variant: Variant,
  ruleset: PolicyRuleset,
): Promise<void> {
  const inNode = { env: lab.env, netns: layout.netns };
  await kernel.guard.prune();
  await kernel.policy.prune();
  await execOk("nft", ["-f", "-"], { ...inNode, input: "table inet bench\ndelete table inet bench\n" });
  await execOk("conntrack", ["-F"], inNode);
  for (const link of new Set(guarded.map((entry) => entry.link)))
    await execOk("ip", ["link", "set", link, "group", String(variant === "policy" ? podClass : openGroup)], inNode);
  if (variant === "tracking") await execOk("nft", ["-f", "-"], { ...inNode, input: trackingText });
  if (variant !== "open" && variant !== "policy") return;
  await kernel.guard.ensure(guarded);
  await (variant === "open" ? kernel.policy.prepare() : kernel.policy.ensure(ruleset));
  if ((await kernel.guard.ensure(guarded)) || (variant === "policy" && (await kernel.policy.ensure(ruleset))))
    throw new Fault("lab-failed", `${layout.name} does not hold what it was given`);
}

async function measureAll({ caller, servers, port }: Scene, variant: Variant, into: PathResult): Promise<void> {
  for (const way of ways) {
    for (const kind of trafficKinds) {
      await caller.rate(kind, servers[way], port, warmUpMs);
      const rates: number[] = [];
      for (let slice = 0; slice < slices; slice += 1) rates.push(await caller.rate(kind, servers[way], port, sliceMs));
      into[way][kind][variant].push(percentile(rates, fastest));
    }
  }
}

function emptyResult(): PathResult {
  const byVariant = () => ({ none: [], tracking: [], open: [], policy: [] });
  const byKind = () => ({ crr: byVariant(), rr: byVariant(), stream: byVariant() });
  return { "one node": byKind(), "two nodes": byKind() };
}
