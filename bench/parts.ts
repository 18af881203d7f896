// The parts of a bench: what each measures, with which numbers, and the bars that its figures must reach.

import { measureLoad } from "./load.ts";
import { measureNodeWork } from "./node-work.ts";
import { atMostMs, atMostMsMore, makeRow, makeValue, type Row, timesFaster } from "./report.ts";
import type { Figures, PartOptions } from "./figures.ts";
import { measurePods } from "./pods.ts";
import { cut, enforcement, judged, path, transactions } from "./policy-parts.ts";
import { blockPods, measure, type RunResult } from "./rounds.ts";
import { measureSoak } from "./soak.ts";
import { simulate } from "./simulation.ts";
import { benchLab } from "./stage.ts";

interface Part {
  what: string;
  run(options: PartOptions): Promise<Figures>;
}

export const partNames = [
  "single",
  "load",
  "soak",
  "node",
  "cluster",
  "pods",
  "path",
  "transactions",
  "enforcement",
  "cut",
  "judged",
] as const;
export type PartName = (typeof partNames)[number];

export const parts: Readonly<Record<PartName, Part>> = {
  single: { what: "one pod at a time, IPv4 and dual stack", run: single },
  load: { what: "100 pods at once, then 8 at a time for a minute", run: load },
  soak: { what: "100,000 pods one after another, 8 at a time: memory and processor time", run: soak },
  node: { what: "a node with 250 pods: its agent's start, GC; what a removed pod leaves, and how long", run: nodeWork },
  cluster: {
    what: "1,000 nodes and 30,000 pods in the lab's API server: controller, and what an agent asks",
    run: largeCluster,
  },
  pods: {
    what: "pods of two real clusters in turn, ours and the reference's (after make upstream image)",
    run: realPods,
  },
  path: { what: "what 300 rules and 10,000 members cost packets, on one node and between two", run: path },
  transactions: {
    what: "what changes of policy cost the kernel: a pod, a member, a class; a full load",
    run: transactions,
  },
  enforcement: {
    what: "10,000 members: edits and new members until packets follow, on one node and on ten",
    run: enforcement,
  },
  cut: { what: "150,000 tracked connections: an edit that forbids 10,000 of them", run: cut },
  judged: { what: "110 pods under 300 rules, 20,000 addresses: ADD against no policy, memory", run: judged },
};

const name = benchLab;

async function single({ quick, signal, onStep }: PartOptions): Promise<Figures> {
  const blocks = quick ? 2 : 20;
  const slowBlocks = quick ? 1 : 2; // the reference waits 1.8 s for each pod in dual stack
  const told = (stack: string) => (block: number) => onStep(`${stack}: ${(block + 1) * blockPods}`);
  const v4 = await measure({ name, families: [4], blocks, referenceBlocks: blocks, signal, onBlock: told("IPv4") });
  const dual = await measure({
    name,
    families: [4, 6],
    blocks,
    referenceBlocks: slowBlocks,
    signal,
    onBlock: told("dual stack"),
  });
  const version = { ours: [...v4.version, ...dual.version], reference: [...v4.bare, ...dual.bare] };
  return {
    rows: [
      ...stackRows("IPv4", v4, 4),
      ...stackRows("dual stack", dual, 100),
      makeRow({ name: "shim VERSION over /bin/true p50", ...version, fraction: 0.5, bar: atMostMsMore(1) }),
    ],
    values: [],
  };
}

/** The figures of one run; `addFactor`: how many times faster ADD must be. */
function stackRows(stack: string, { ours, reference, first }: RunResult, addFactor: number): Row[] {
  const [add, del] = [
    { ours: ours.add, reference: reference.add },
    { ours: ours.del, reference: reference.del },
  ];
  return [
    { name: `ADD ${stack} p50`, ...add, fraction: 0.5, bar: timesFaster(addFactor) },
    { name: `ADD ${stack} p99`, ...add, fraction: 0.99, bar: atMostMs(10) },
    { name: `ADD ${stack} first after start`, ours: [first], fraction: 1 },
    { name: `DEL ${stack} p50`, ...del, fraction: 0.5, bar: timesFaster(10) },
    { name: `DEL ${stack} p99`, ...del, fraction: 0.99 },
    {
      name: `DEL ${stack} of ${blockPods} pods until their links are gone p50`,
      ours: ours.gone,
      reference: reference.gone,
      fraction: 0.5,
    },
  ].map(makeRow);
}

async function load({ quick, signal }: PartOptions): Promise<Figures> {
  const [burstPods, atATime] = [100, 8];
  const { burst, sustained } = await measureLoad({
    name,
    burstPods,
    bursts: quick ? 1 : 5,
    atATime,
    turns: quick ? 1 : 4,
    turnMs: quick ? 2_000 : 15_000,
    withReference: true,
    signal,
  });
  const both = <K extends string>(of: { ours: Record<K, number[]>; reference: Record<K, number[]> }, key: K) => ({
    ours: of.ours[key],
    reference: of.reference[key],
  });
  const at = `${atATime} at a time`;
  return {
    rows: [
      {
        name: `ADD of ${burstPods} at once, the last of them p50`,
        ...both(burst, "lastAdd"),
        fraction: 0.5,
        bar: timesFaster(4),
      },
      {
        name: `DEL of ${burstPods} at once, the last of them p50`,
        ...both(burst, "lastDel"),
        fraction: 0.5,
        bar: timesFaster(4),
      },
      { name: `DEL of ${burstPods} at once until their links are gone p50`, ...both(burst, "gone"), fraction: 0.5 },
      { name: `ADD+DEL ${at}, time per pair p50`, ...both(sustained, "perPair"), fraction: 0.5, bar: timesFaster(4) },
      { name: `ADD ${at} p50`, ...both(sustained, "add"), fraction: 0.5 },
      { name: `ADD ${at} p99`, ...both(sustained, "add"), fraction: 0.99 },
      { name: `DEL ${at} p50`, ...both(sustained, "del"), fraction: 0.5 },
      { name: `DEL ${at} p99`, ...both(sustained, "del"), fraction: 0.99 },
    ].map(makeRow),
    values: [],
  };
}

/** Memory that a node's agent may have, and how much more after the whole soak than after its first fifth. */
const [residentMaxMb, growthMax] = [120, 1.1];

async function soak({ quick, signal, onStep }: PartOptions): Promise<Figures> {
  const pairs = quick ? 2_000 : 100_000;
  const onSample = (done: number): void => onStep(`${done} pairs`);
  const result = await measureSoak({ name, pairs, sampleEvery: pairs / 10, atATime: 8, signal, onSample });
  const [first, , early, ...later] = result.residentMb;
  const [start, base, end] = [first?.mb ?? 0, early?.mb ?? 0, later.at(-1)?.mb ?? 0];
  const count = pairs.toLocaleString("en");
  return {
    rows: [
      makeRow({ name: "agent processor time per pair of ADD and DEL", ours: [result.cpuMsPerPair], fraction: 1 }),
      makeRow({ name: "of it, removal of links", ours: [result.reaperCpuMsPerPair], fraction: 1 }),
    ],
    values: [
      makeValue("agent memory after start", start, "MB"),
      makeValue(`agent memory after ${(pairs / 5).toLocaleString("en")} pairs`, base, "MB"),
      makeValue(`agent memory after ${count} pairs`, end, "MB", Math.min(residentMaxMb, base * growthMax)),
    ],
  };
}

async function nodeWork({ quick, signal }: PartOptions): Promise<Figures> {
  const [pods, listed, flows] = [quick ? 20 : 250, 10_000, 100];
  const result = await measureNodeWork({
    name,
    pods,
    starts: quick ? 1 : 5,
    listed,
    flows,
    flowPods: quick ? 2 : 20,
    signal,
  });
  const list = `GC with a list of ${listed.toLocaleString("en")}`;
  return {
    rows: [
      { name: "agent start without pods p50", ours: result.emptyStart, fraction: 0.5 },
      { name: `agent start with ${pods} pods, after kill -9 p50`, ours: result.start, fraction: 0.5 },
      { name: `${list}, ${pods / 2} of ${pods} pods removed`, ours: [result.collect], fraction: 1 },
      { name: `${list}, nothing to remove`, ours: [result.collectAgain], fraction: 1 },
      { name: `DEL until link and ${flows} tracked connections are gone p50`, ours: result.gone, fraction: 0.5 },
    ].map(makeRow),
    values: [],
  };
}

async function largeCluster({ quick, signal, onStep }: PartOptions): Promise<Figures> {
  const [nodes, podsOfNode] = quick ? [50, 5] : [1000, 30];
  const result = await simulate({ name, nodes, podsOfNode, signal, onStep });
  const size = `${nodes.toLocaleString("en")} nodes`;
  return {
    rows: [],
    values: [
      makeValue(`${size}: made, until the last has its blocks`, result.blocksS, "s"),
      makeValue(`${size}: of it, until the last is made`, result.madeS, "s"),
      makeValue(`${size}: controller memory`, result.controllerMb, "MB"),
      makeValue(`${size}: controller processor time`, result.controllerCpuS, "s"),
      makeValue(`${size}: requests of the controller`, result.controllerRequests, "requests"),
      makeValue(`${size}: requests of one agent`, result.agentRequests, "requests"),
      makeValue(`${size}: sent to one agent`, result.agentKb, "KB"),
      makeValue(`${size}: memory of one agent`, result.agentMb, "MB"),
    ],
  };
}

async function realPods({ quick, signal, onStep }: PartOptions): Promise<Figures> {
  const { ours, reference } = await measurePods({ name, pods: quick ? 3 : 30, signal, onStep });
  const figures = (["running", "pingable"] as const).flatMap((key) =>
    ([0.5, 0.99] as const).map((fraction) => ({
      name: `pod in a real cluster, dual stack, created until ${key} p${fraction * 100}`,
      ours: ours[key],
      reference: reference[key],
      fraction,
    })),
  );
  return { rows: figures.map(makeRow), values: [] };
}
