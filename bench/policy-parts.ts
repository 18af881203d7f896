// The parts of a bench that are about policy: with which numbers each is measured, and the bars that its figures must reach.

import type { Figures, PartOptions } from "./figures.ts";
import { measurePath, type PathResult, type Way, ways } from "./path.ts";
import { atMostMs, makeRow, makeShare, makeTimes, makeValue, percentile, type Row, type Value } from "./report.ts";
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
