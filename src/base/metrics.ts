// Metrics: their names, kinds and meanings in one table, from which the program's registry and docs/metrics.md are made.

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { LoopPass } from "./loop.ts";

/** Seconds; the figures of interest lie between 0.3 ms and a second. */
const callSeconds = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];
const lagSeconds = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

interface MetricKind {
  kind: "counter" | "gauge" | "histogram";
  help: string;
  labels: readonly string[];
  /** Histograms: upper bounds. */
  buckets?: readonly number[];
}

const metric = <K extends MetricKind["kind"]>(
  kind: K,
  labels: readonly string[],
  help: string,
  buckets?: readonly number[],
): MetricKind & { kind: K } => ({ kind, labels, help, ...(buckets === undefined ? {} : { buckets }) });

/** Every metric of the agent. Names are fixed: dashboards and alerts hang on them. */
export const metricTable = {
  fairlead_cni_duration_seconds: metric(
    "histogram",
    ["verb", "outcome"],
    'Time from a complete CNI request to its reply. `outcome` is "ok" or the code of the failure.',
    callSeconds,
  ),
  fairlead_cni_calls: metric("gauge", ["state"], "CNI calls at work and waiting for their turn."),
  fairlead_attachments: metric(
    "gauge",
    ["state"],
    'Attachments of this node: "ready", or "planned" while ADD makes them.',
  ),
  fairlead_leases: metric(
    "gauge",
    ["family", "state"],
    'Addresses of this node\'s blocks: "live", "cooling" after a release, "withheld" since memberships still list them, "free".',
  ),
  fairlead_loop_passes_total: metric("counter", ["loop", "outcome"], "Passes of each background loop."),
  fairlead_loop_failures: metric(
    "gauge",
    ["loop"],
    "Passes of each background loop that have failed since its last good one.",
  ),
  fairlead_loop_duration_seconds: metric(
    "histogram",
    ["loop"],
    "Duration of one pass of each background loop.",
    callSeconds,
  ),
  fairlead_reaper_lag_seconds: metric(
    "histogram",
    [],
    "Time from the first DEL of a batch until its links and tracked connections are gone.",
    lagSeconds,
  ),
  fairlead_repairs_total: metric("counter", ["what"], "What was found wrong on the node and put right."),
  fairlead_flows_total: metric(
    "counter",
    ["outcome", "fate"],
    'Packets and connections that the flow log heard of: "denied", "audited", "began", "ended"; "told" one by one, "suppressed" beyond what one pod may tell, "lost" on their way from the kernel, "unread".',
  ),
  fairlead_masquerade_file: metric(
    "gauge",
    ["state"],
    '1 for the state in which the settings of masquerade are: "good", "absent" (defaults hold), "bad" (the rules before stay). None where it is off.',
  ),
  fairlead_masquerade_kept_ranges: metric(
    "gauge",
    ["family"],
    "Ranges towards which pods keep their own addresses, those within others left out. None where masquerade is off.",
  ),
  fairlead_policy_denied_packets_total: metric(
    "counter",
    ["kind", "direction", "objects"],
    'Packets of new connections that no rule of `objects` allows, by those who judge together in one direction; beyond 256 of them the rest is "others". Of many objects the first are named, and how many more there are, with a mark by which they differ.',
  ),
  fairlead_policy_audited_packets_total: metric(
    "counter",
    ["kind", "direction", "objects"],
    "The same for objects on probation: these packets passed.",
  ),
  fairlead_policy_rule_packets_total: metric(
    "counter",
    ["rule"],
    'Packets that began connections by each rule, at most: read once a minute; beyond 256 rules the rest is "others". `fairlead groups` has both bounds.',
  ),
  fairlead_policy_refused_packets_total: metric(
    "counter",
    ["why"],
    'Packets refused whatever policy says: "unknown_class" of a link whose class the kernel does not know, "midstream" of a connection that nobody has seen begin, "metadata" to the closed credentials of the cloud.',
  ),
  fairlead_policy_resets_total: metric(
    "counter",
    [],
    "Resets that answered segments of connections that nobody has seen begin, so that their ends connect anew.",
  ),
  fairlead_kube_objects: metric("gauge", ["kind"], "Objects of the Kubernetes API that are followed, by kind."),
  fairlead_kube_watch_failures: metric(
    "gauge",
    ["kind"],
    "Failures in a row of following a kind; 0 while its watch runs. What is known stays meanwhile.",
  ),
  fairlead_node_blocks: metric(
    "gauge",
    ["range", "state"],
    'Controller: node blocks of each range: "given", "promised" to a node that has not got it yet, "service", "free".',
  ),
  fairlead_controller_leads: metric("gauge", [], "Controller: 1 while this replica leads."),
  fairlead_policy_break_glass: metric(
    "gauge",
    ["object"],
    "Pods of this node that policy denies nothing, by the Namespace or Node whose break-glass lasts. None where none does.",
  ),
  fairlead_kernel_calls: metric("gauge", ["lane"], "Calls that wait for the kernel or are under way, by thread."),
} as const satisfies Record<string, MetricKind>;

type MetricName = keyof typeof metricTable;

/** What `repaired` counts. */
export type Repair =
  | "wire"
  | "guard"
  | "masquerade"
  | "policy"
  | "host"
  | "vanished"
  | "stray link"
  | "state file"
  | "socket";

/** Values that are read when somebody asks, each set of labels once: name, labels in the table's order, value. */
export type Reading = readonly [name: MetricName, labels: readonly string[], value: number];

export interface Metrics {
  /** Counts one CNI call and how long it took, by verb and outcome ("ok" or the fault's code). */
  verb(verb: string, outcome: string, durationMs: number): void;
  /** Counts one loop pass: give it to a loop as `onPass`. */
  loop(pass: LoopPass): void;
  /** Notes how long it took until a batch of removed pods was wholly gone. */
  reaped(lagMs: number): void;
  /** Counts what was found wrong on the node and put right. */
  repaired(what: Repair, count: number): void;
  /** Counts what the flow log heard of. */
  flow(outcome: string, fate: string, count: number): void;
  /** The Prometheus text form of all of them; gauges, and counters that others count, as `readings` say. */
  text(readings: Iterable<Reading>): Promise<string>;
}

/** Makes the program's metrics on a registry of its own, so that tests never share one. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const options = (name: MetricName) => ({
    name,
    help: metricTable[name].help,
    labelNames: [...metricTable[name].labels],
    registers,
  });
  const histogram = (name: MetricName & `${string}_seconds`): Histogram =>
    new Histogram({ ...options(name), buckets: [...(metricTable[name].buckets ?? [])] });
  const verbs = histogram("fairlead_cni_duration_seconds");
  const passSeconds = histogram("fairlead_loop_duration_seconds");
  const lag = histogram("fairlead_reaper_lag_seconds");
  const passes = new Counter(options("fairlead_loop_passes_total"));
  const repairs = new Counter(options("fairlead_repairs_total"));
  const flows = new Counter(options("fairlead_flows_total"));
  const names = Object.keys(metricTable).filter((name): name is MetricName => Object.hasOwn(metricTable, name));
  const read = new Map(
    names.flatMap((name): [MetricName, Gauge | Counter][] => {
      const { kind } = metricTable[name];
      if (kind === "gauge") return [[name, new Gauge(options(name))]];
      return kind === "counter" && registry.getSingleMetric(name) === undefined
        ? [[name, new Counter(options(name))]]
        : [];
    }),
  );
  return {
    verb: (verb, outcome, durationMs) => verbs.observe({ verb, outcome }, durationMs / 1000),
    loop: ({ name, ok, durationMs }) => {
      passes.inc({ loop: name, outcome: ok ? "ok" : "failed" });
      passSeconds.observe({ loop: name }, durationMs / 1000);
    },
    reaped: (lagMs) => lag.observe(lagMs / 1000),
    repaired: (what, count) => repairs.inc({ what }, count),
    flow: (outcome, fate, count) => flows.inc({ outcome, fate }, count),
    text: (readings) => {
      for (const one of read.values()) one.reset();
      for (const [name, labels, value] of readings)
        read
          .get(name)
          ?.labels(...labels)
          .inc(value);
      return registry.metrics();
    },
  };
}
