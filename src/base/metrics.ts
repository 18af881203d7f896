// Metrics: one registry per program; this file is the only one that names the metrics library.

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { LoopPass } from "./loop.ts";

/** Seconds; the figures of interest lie between 0.3 ms and a second. */
const durationBucketsSeconds = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

export interface Metrics {
  /** Counts one CNI call and how long it took, by verb and outcome ("ok" or the fault's code). */
  verb(verb: string, outcome: string, durationMs: number): void;
  /** Counts one loop pass: give it to a loop as `onPass`. */
  loop(pass: LoopPass): void;
  /** Sets the number of leases in `state` for a family. */
  leases(family: 4 | 6, state: "live" | "cooling" | "free", count: number): void;
  /** The Prometheus text form of all of them. */
  text(): Promise<string>;
}

/** Makes the program's metrics on a registry of its own, so that tests never share one. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const verbs = new Histogram({
    name: "fairlead_cni_duration_seconds",
    help: "Time from a complete CNI request to its reply, by verb and outcome.",
    labelNames: ["verb", "outcome"],
    buckets: durationBucketsSeconds,
    registers,
  });
  const passes = new Counter({
    name: "fairlead_loop_passes_total",
    help: "Passes of each background loop, by outcome.",
    labelNames: ["loop", "outcome"],
    registers,
  });
  const passSeconds = new Histogram({
    name: "fairlead_loop_duration_seconds",
    help: "Duration of one pass of each background loop.",
    labelNames: ["loop"],
    buckets: durationBucketsSeconds,
    registers,
  });
  const leases = new Gauge({
    name: "fairlead_leases",
    help: "Addresses of this node by family and state.",
    labelNames: ["family", "state"],
    registers,
  });
  return {
    verb: (verb, outcome, durationMs) => verbs.observe({ verb, outcome }, durationMs / 1000),
    loop: ({ name, ok, durationMs }) => {
      passes.inc({ loop: name, outcome: ok ? "ok" : "failed" });
      passSeconds.observe({ loop: name }, durationMs / 1000);
    },
    leases: (family, state, count) => leases.set({ family: String(family), state }, count),
    text: () => registry.metrics(),
  };
}
