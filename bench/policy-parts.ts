// The parts of a bench that are about policy: with which numbers each is measured, and the bars that its figures must reach.

import { measureCut } from "./cut.ts";
import { measureEnforcement } from "./enforcement.ts";
import { measureJudged } from "./judged.ts";
import type { Figures, PartOptions } from "./figures.ts";
import { measurePath, type PathResult, type Way, ways } from "./path.ts";
import {
  atMostMs,
  atMostMsMore,
  makeRow,
  makeShare,
  makeTimes,
  makeValue,
  percentile,
  type Row,
  type Value,
} from "./report.ts";
import { benchLab as name } from "./stage.ts";
import type { TrafficKind } from "./traffic.ts";
import { type Change, changes, measureTransactions, type SizeResult } from "./transactions.ts";

/** Rules of a pod, and addresses of the memberships that they name. */
const [rules, members] = [300, 10_000];

/** What is told of each kind of traffic: the share of it that policy must leave, and how the rate is said. */
const told: Readonly<Record<TrafficKind, { what: string; least: number; unit: Value["unit"]; per: number }>> = {
  crr: { what: "connections", least: 0.9, unit: "/s", per: 1 },
  rr: { what: "round trips", least: 0.95, unit: "/s", per: 1 },
  stream: { what: "throughput", least: 0.97, unit: "Gbit/s", per: 8e-9 },
};

/** What policy costs packets. */
export async function path({ quick, signal, onStep }: PartOptions): Promise<Figures> {
  const result = await measurePath({
    name,
    rules,
    members,
    rounds: quick ? 2 : 15,
    signal,
    onRound: (round) => onStep(`${round} rounds`),
  });
  const kinds = ["crr", "rr", "stream"] as const;
  return { rows: [], values: ways.flatMap((way) => kinds.flatMap((kind) => pathValues(result, way, kind))) };
}

function pathValues(result: PathResult, way: Way, kind: TrafficKind): Value[] {
  const rates = result[way][kind];
  const { what, least, unit, per } = told[kind];
  const median = (values: readonly number[]): number => percentile(values, 0.5);
  /** Of each round, so that what the machine did in it is on both sides. */
  const share = (of: readonly number[]): number => median(rates.policy.map((rate, round) => rate / (of[round] ?? 0)));
  const whole = `${what} between pods on ${way}, ${rules} rules`;
  return [
    makeShare(`${whole}, against connection tracking alone`, share(rates.tracking), least),
    makeShare(`${whole}, against guard and tracking without policy`, share(rates.open)),
    makeShare(`${whole}, against no connection tracking`, share(rates.none)),
    makeValue(whole, median(rates.policy) * per, unit),
  ];
}

/** What a change may take of the kernel's time, in ms. */
const changeMaxMs: Readonly<Record<Change, number | undefined>> = {
  "pod admitted": 0.2,
  "pod removed": 0.2,
  "member added": 0.2,
  "class added": 1.5,
  "class removed": undefined,
};
/** How often a change of many classes may contain that of few: they differ by noise. */
const growthMax = 1.5;

/** What changes of policy cost the kernel. */
export async function transactions({ quick, signal, onStep }: PartOptions): Promise<Figures> {
  const counts = { members: [10_000, 100_000], classes: [10, 110] } as const;
  const load = { pods: 110, members: 100_000, times: quick ? 1 : 5 };
  const { sizes, load: loaded } = await measureTransactions({
    name,
    rules,
    ...counts,
    rounds: quick ? 5 : 100,
    load,
    signal,
    onRound: (round) => onStep(`${round} rounds`),
  });
  const [few, many] = counts.classes;
  const full = `load of ${load.pods} pods of ${rules} rules each, ${said(load.members)} members`;
  return {
    rows: [
      ...sizes.flatMap(changeRows),
      makeRow({ name: `${full}, transaction p50`, ours: loaded.kernel, fraction: 0.5 }),
      makeRow({ name: `${full}, with its compilation p50`, ours: loaded.whole, fraction: 0.5 }),
    ],
    values: changes.flatMap((change) =>
      counts.members.map((of) => {
        const median = (classes: number): number =>
          percentile(
            sizes.find((one) => one.members === of && one.classes === classes)?.took[change].kernel ?? [],
            0.5,
          );
        const bar = changeMaxMs[change] === undefined ? undefined : growthMax;
        const what = `${change}, ${said(of)} members: transaction with ${many} classes against ${few}`;
        return makeTimes(what, median(many) / median(few), bar);
      }),
    ),
  };
}

const said = (count: number): string => count.toLocaleString("en");

function changeRows({ members: of, classes, took }: SizeResult): Row[] {
  return changes.flatMap((change) => {
    const what = `${change}, ${said(of)} members, ${classes} classes`;
    const max = changeMaxMs[change];
    const { kernel, whole } = took[change];
    const bar = max === undefined ? {} : { bar: atMostMs(max) };
    return [
      makeRow({ name: `${what}: transaction p50`, ours: kernel, fraction: 0.5, ...bar }),
      makeRow({ name: `${what}: transaction p99`, ours: kernel, fraction: 0.99 }),
      makeRow({ name: `${what}: all p50`, ours: whole, fraction: 0.5 }),
    ];
  });
}

/** Objects that make 10,000 members, with an address of each family. */
const crowd = { nodes: 40, podsOfNode: 250 } as const;
const smallCrowd = { nodes: 2, podsOfNode: 50 } as const;
/** Nodes of the simulated cluster that traffic of the API server is told for. */
const manyNodes = 1000;

/** From what is written until packets follow, on one node and on ten. */
export async function enforcement({ quick, signal, onStep }: PartOptions): Promise<Figures> {
  const common = { name, crowd: quick ? smallCrowd : crowd, signal };
  const told = (nodes: number) => (words: string) => onStep(`${nodes} nodes: ${words}`);
  const one = await measureEnforcement({ ...common, nodes: 1, edits: quick ? 3 : 60, pods: 1, onStep: told(1) });
  const ten = await measureEnforcement({
    ...common,
    nodes: 10,
    edits: quick ? 2 : 20,
    pods: quick ? 2 : 40,
    onStep: told(10),
  });
  const of = `${said(members)} members`;
  const rows: [string, readonly number[], number?][] = [
    [`edit of a group, ${of}: written until enforced on a node`, one.edit, 100],
    [`edit of a group, ${of}: written until enforced on all of 10 nodes`, ten.editAll],
    [`edit of a group, ${of}: written until the last packet that it forbids, on a node`, one.forbidden, 2_000],
    [`edit of a group, ${of}: written until the last packet that it forbids, on 10 nodes`, ten.forbidden, 2_000],
    [`ADD returned until the member is let in by all of 10 nodes, ${of}`, ten.member, 500],
  ];
  const kb = ten.bytesOfEvent / 1024;
  return {
    rows: rows.flatMap(([what, ours, max]) => percentiles(what, ours, max)),
    values: [
      makeValue(`a member comes or goes, ${of}: sent to one agent`, kb, "KB"),
      makeValue(
        `a member comes or goes, ${of}: sent to the agents of ${said(manyNodes)} nodes`,
        (kb * manyNodes) / 1024,
        "MB",
      ),
    ],
  };
}

/** Median and 99th percentile, which the bar is for. */
function percentiles(what: string, ours: readonly number[], max?: number): Row[] {
  return [
    makeRow({ name: `${what} p50`, ours, fraction: 0.5 }),
    makeRow({ name: `${what} p99`, ours, fraction: 0.99, ...(max === undefined ? {} : { bar: atMostMs(max) }) }),
  ];
}

/** Connections that an edit forbids, among very many. */
export async function cut({ quick, signal, onStep }: PartOptions): Promise<Figures> {
  const [flows, forbidden] = quick ? [15_000, 1_000] : [150_000, 10_000];
  const turns = quick ? 2 : 10;
  const onTurn = (turn: number): void => onStep(`${turn} turns`);
  const { last, gone } = await measureCut({ name, flows, forbidden, turns, signal, onTurn });
  const tracked = `${said(flows)} tracked connections`;
  return {
    rows: [
      ...percentiles(`last forbidden packet, ${tracked}`, last, 2_000),
      ...percentiles(`${said(forbidden)} of ${tracked} cut`, gone),
    ],
    values: [],
  };
}

/** Memory that an agent may have. */
const residentMaxMb = 120;

/** What policy adds to ADD, and the memory of the agent of a full node. */
export async function judged({ quick, signal, onStep }: PartOptions): Promise<Figures> {
  const pods = quick ? 30 : 110;
  const wish = { name, crowd: quick ? smallCrowd : crowd, pods, block: 10, signal, onStep };
  const { judged: ours, open: reference, judgedMb, openMb } = await measureJudged(wish);
  const addresses = said(2 * members);
  return {
    rows: [
      makeRow({
        name: `ADD dual stack under ${rules} rules against none p50`,
        ours,
        reference,
        fraction: 0.5,
        bar: atMostMsMore(0.5),
      }),
      makeRow({ name: `ADD dual stack under ${rules} rules against none p99`, ours, reference, fraction: 0.99 }),
    ],
    values: [
      makeValue(`agent memory, ${pods} pods, memberships of ${addresses} addresses`, judgedMb, "MB", residentMaxMb),
      makeValue(`agent memory, ${pods} pods, no policy`, openMb, "MB"),
    ],
  };
}
