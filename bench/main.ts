// `make bench`: measures Fairlead against the reference plugins on this machine, writes bench/results.json, fails where a bar does not hold.

import { availableParallelism, cpus, loadavg, release } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describe, Fault } from "../src/base/fault.ts";
import type { Figures } from "./figures.ts";
import { partNames, parts, type PartName } from "./parts.ts";
import { reportTable, valueTable } from "./report.ts";
import { readResults, type Results, withPart, writeResults } from "./results.ts";

const usage = `usage: bench/main.ts [--only PART]... [--quick] [--out FILE]
  --only PART   one part: ${partNames.join(", ")}; without it, all
  --quick       a fraction of the pods: to see that it works, not for figures that count
  --out FILE    where the figures go: those of each part in place of its old ones, the others stay
                (default bench/results.json; with --only or --quick none are written unless this says where)`;

const referenceName = "github.com/containernetworking/plugins v1.10.0, ptp + host-local";

/** More work than this elsewhere on the machine, as its share of the cores, is told: figures get worse by it, ours and the reference's alike. */
const busyShare = 0.5;

interface Options {
  only: readonly PartName[];
  quick: boolean;
  out?: string;
}

function readOptions(): Options {
  const { values } = parseArgs({
    strict: true,
    options: {
      only: { type: "string", multiple: true, default: [] },
      quick: { type: "boolean", default: false },
      out: { type: "string" },
    },
  });
  const only = values.only.map((name) => {
    const part = partNames.find((known) => known === name);
    if (part === undefined) throw new Fault("bad-config", `--only ${name}: there is no such part\n${usage}`);
    return part;
  });
  const whole = only.length === 0 && !values.quick;
  const out = values.out ?? (whole ? fileURLToPath(new URL("results.json", import.meta.url)) : undefined);
  return { only: only.length === 0 ? partNames : only, quick: values.quick, ...(out === undefined ? {} : { out }) };
}

async function bench(signal: AbortSignal): Promise<Figures> {
  const { only, quick, out } = readOptions();
  const [load = 0] = loadavg();
  if (load > busyShare * availableParallelism())
    process.stdout.write(`the machine is busy (load ${load.toFixed(1)}): expect worse figures\n`);
  const figures: Figures = { rows: [], values: [] };
  let results: Results = out === undefined ? {} : readResults(out);
  for (const name of only) {
    process.stdout.write(`${name}: ${parts[name].what}\n`);
    const [busy = 0] = loadavg();
    const found = await parts[name].run({ quick, signal, onStep });
    clearLine();
    figures.rows.push(...found.rows);
    figures.values.push(...found.values);
    // A part that fails takes nothing of those before it along.
    results = withPart(results, name, machineFacts(busy), found, partNames);
    if (out !== undefined) writeResults(out, results);
  }
  return figures;
}

function machineFacts(load: number): Record<string, string | number> {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? "unknown",
    date: new Date().toISOString().slice(0, 10),
    kernel: release(),
    load: Math.round(load * 10) / 10,
    node: process.version,
    reference: referenceName,
  };
}

/** Shows on a terminal how far a part is. */
function onStep(words: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${words}`);
}

function clearLine(): void {
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
}

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  // Once: the run ends after the step at hand and removes its lab; a second signal ends it hard, and the next bench removes the rest.
  process.once(name, () => stop.abort(new Error(`stopped by ${name}; the lab is being removed`)));
}
try {
  const { rows, values } = await bench(stop.signal);
  process.stdout.write(`\n${reportTable(rows)}\n`);
  if (values.length > 0) process.stdout.write(`\n${valueTable(values)}\n`);
  const failed = [...rows, ...values].filter(({ ok }) => ok === false);
  process.stdout.write(`\n${failed.length === 0 ? "every bar holds" : `${failed.length} bar(s) fail`}\n`);
  if (failed.length > 0) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`bench: ${describe(error)}\n`);
  process.exitCode = 1;
}
