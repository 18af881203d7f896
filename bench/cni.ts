// `make bench`: measures ADD and DEL against the reference plugins on this machine, writes bench/results.json, fails where a bar does not hold.

import { writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describe, Fault } from "../src/base/fault.ts";
import {
  atMostMs,
  atMostMsMore,
  type Bar,
  makeRow,
  type Measured,
  reportJson,
  reportTable,
  type Row,
  timesFaster,
} from "./report.ts";
import { benchLab, blockPods, measure, podsMax, type RunOptions, type RunResult } from "./rounds.ts";

const usage = `usage: bench/cni.ts [--pods N] [--slow-pods N] [--out FILE]
  --pods N       pods in IPv4 and in dual stack, a multiple of ${blockPods} up to ${podsMax} (default 200)
  --slow-pods N  how many of them the reference gets too in dual stack, where it waits 1.8 s for each (default 20)
  --out FILE     where the figures go (default bench/results.json)`;

const referenceName = "github.com/containernetworking/plugins v1.10.0, ptp + host-local";

/** More work than this elsewhere on the machine, as its share of the cores, is told: figures get worse by it, ours and the reference's alike. */
const busyShare = 0.5;

/** The figures of one run, with the bars for its families. */
function figures(
  stack: string,
  { ours, reference, first }: RunResult,
  bars: { add: Bar; add99?: Bar; del: Bar },
): Measured[] {
  const tail = bars.add99 === undefined ? {} : { bar: bars.add99 };
  return [
    { name: `ADD ${stack} p50`, ours: ours.add, reference: reference.add, fraction: 0.5, bar: bars.add },
    { name: `ADD ${stack} p99`, ours: ours.add, reference: reference.add, fraction: 0.99, ...tail },
    { name: `ADD ${stack} first after start`, ours: [first], fraction: 1 },
    { name: `DEL ${stack} p50`, ours: ours.del, reference: reference.del, fraction: 0.5, bar: bars.del },
    { name: `DEL ${stack} p99`, ours: ours.del, reference: reference.del, fraction: 0.99 },
    {
      name: `DEL ${stack} of ${blockPods} pods until their links are gone p50`,
      ours: ours.gone,
      reference: reference.gone,
      fraction: 0.5,
    },
  ];
}

/** Blocks for a number of pods. */
function blocksOf(text: string, name: string, max: number): number {
  const pods = Number(text);
  if (Number.isInteger(pods) && pods >= blockPods && pods <= max && pods % blockPods === 0) return pods / blockPods;
  throw new Fault("bad-config", `--${name} ${text}: must be a multiple of ${blockPods} up to ${max}\n${usage}`);
}

async function bench(signal: AbortSignal): Promise<Row[]> {
  const { values } = parseArgs({
    strict: true,
    options: {
      pods: { type: "string", default: "200" },
      "slow-pods": { type: "string", default: "20" },
      out: { type: "string", default: fileURLToPath(new URL("results.json", import.meta.url)) },
    },
  });
  const blocks = blocksOf(values.pods, "pods", podsMax);
  const slowBlocks = blocksOf(values["slow-pods"], "slow-pods", blocks * blockPods);
  const [load = 0] = loadavg();
  if (load > busyShare * availableParallelism())
    process.stdout.write(`the machine is busy (load ${load.toFixed(1)}): expect worse figures\n`);
  const v4 = await told("IPv4", { families: [4], blocks, referenceBlocks: blocks, signal });
  const dual = await told("dual stack", { families: [4, 6], blocks, referenceBlocks: slowBlocks, signal });
  const rows = [
    ...figures("IPv4", v4, { add: timesFaster(4), add99: atMostMs(10), del: timesFaster(10) }),
    ...figures("dual stack", dual, { add: timesFaster(100), del: timesFaster(10) }),
    {
      name: "shim VERSION over /bin/true p50",
      ours: [...v4.version, ...dual.version],
      reference: [...v4.bare, ...dual.bare],
      fraction: 0.5,
      bar: atMostMsMore(1),
    },
  ].map(makeRow);
  const machine = {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? "unknown",
    date: new Date().toISOString().slice(0, 10),
    kernel: release(),
    load: Math.round(load * 10) / 10,
    node: process.version,
    reference: referenceName,
  };
  writeFileSync(values.out, reportJson(machine, rows));
  return rows;
}

/** Measures one stack and shows on a terminal how far it is. */
async function told(stack: string, options: Omit<RunOptions, "onBlock" | "name">): Promise<RunResult> {
  const { blocks } = options;
  process.stdout.write(`${stack}: ${blocks * blockPods} pods\n`);
  const tty = process.stderr.isTTY;
  const onBlock = (block: number): void => {
    if (tty) process.stderr.write(block + 1 < blocks ? `\r${(block + 1) * blockPods}` : "\r\x1b[K");
  };
  return measure({ ...options, name: benchLab, onBlock });
}

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  // Once: the run ends after the pod at hand and removes its lab; a second signal ends it hard, and the next bench removes the rest.
  process.once(name, () => stop.abort(new Error(`stopped by ${name}; the lab is being removed`)));
}
try {
  const rows = await bench(stop.signal);
  process.stdout.write(`\n${reportTable(rows)}\n`);
  const failed = rows.filter(({ ok }) => ok === false);
  process.stdout.write(`\n${failed.length === 0 ? "every bar holds" : `${failed.length} bar(s) fail`}\n`);
  if (failed.length > 0) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`bench: ${describe(error)}\n`);
  process.exitCode = 1;
}
