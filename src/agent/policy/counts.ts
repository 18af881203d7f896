// What policy has counted on this node since the agent began: packets denied and audited by whom, for metrics and for people.

import type { Reading } from "../../base/metrics.ts";
import type { PolicyTable } from "../../kernel/contract.ts";
import { baseCounters, layerCounter, metadataCounter, midstream, resets, unknownClass } from "../../policy/counters.ts";
import type { Layer } from "../../policy/model.ts";

/** Layers that are told by their objects; what others count is summed under `others`. */
export const layersToldMax = 256;
/** Layers that have gone, and whose last count was not read yet; those beyond, the oldest first, are counted under `others`. */
const goneLayersMax = 1024;
const others = "others";
const unnamed = { kind: others, direction: others, objects: others };
/** Longest text of a layer's objects in a label. */
const objectsLenMax = 512;
/** Between two readings of the kernel, however often somebody asks. */
const readEveryMs = 1_000;

/** What one layer has denied, or audited, whatever its rules were meanwhile. */
export interface LayerCount {
  kind: string;
  direction: string;
  /** "SecurityGroup db, SecurityGroup web": no rule of any of them allowed these packets. */
  objects: string;
  otherwise: "deny" | "audit";
  packets: number;
}

export interface PolicyCounts {
  /** Says which counters belong to which layers: a layer of other rules has another counter. */
  know: (layers: Iterable<{ layer: Layer; name: string }>) => void;
  /** Reads the kernel, unless that was done a moment ago. @throws Fault as the kernel's table has them */
  read: () => Promise<void>;
  layers: () => readonly LayerCount[];
  /** Packets by counter of the table itself: those of no class that is known, and those of no connection that is known. */
  base: () => ReadonlyMap<string, number>;
}

const shortened = (text: string): string =>
  text.length <= objectsLenMax ? text : `${text.slice(0, objectsLenMax - 1)}…`;

/** Counts from zero; `clock` in milliseconds. Nothing that it has counted ever becomes less. */
export function createPolicyCounts(table: Pick<PolicyTable, "counted">, clock: () => number): PolicyCounts {
  /** Of counters that are there now, and of those that have gone since the last reading. */
  let layerOf = new Map<string, Omit<LayerCount, "packets">>();
  let current = new Set<string>();
  const counts = new Map<string, LayerCount>();
  const base = new Map<string, number>([...baseCounters, metadataCounter].map((name) => [name, 0]));
  let readMs = -Infinity;
  let reading: Promise<void> | undefined;

  const countOf = (wanted: Omit<LayerCount, "packets">): LayerCount => {
    const key = JSON.stringify([wanted.kind, wanted.direction, wanted.objects, wanted.otherwise]);
    const known = counts.get(key);
    if (known !== undefined) return known;
    if (counts.size >= layersToldMax && wanted.objects !== others) {
      return countOf({ ...unnamed, otherwise: wanted.otherwise });
    }
    const made = { ...wanted, packets: 0 };
    counts.set(key, made);
    return made;
  };
  const take = async (): Promise<void> => {
    const names = new Set(current);
    for (const [name, packets] of await table.counted()) {
      const layer = layerOf.get(name);
      if (layer !== undefined) countOf(layer).packets += packets;
      else if (base.has(name)) base.set(name, (base.get(name) ?? 0) + packets);
      else if (packets > 0)
        countOf({ ...unnamed, otherwise: name.endsWith(".audit") ? "audit" : "deny" }).packets += packets;
    }
    readMs = clock();
    // What has gone before that reading says nothing any more.
    for (const name of layerOf.keys()) if (!names.has(name) && !current.has(name)) layerOf.delete(name);
  };

  return {
    know: (layers) => {
      current = new Set();
      for (const { layer, name } of layers) {
        const { kind, direction, objects, otherwise } = layer;
        const counter = layerCounter({ name, otherwise });
        layerOf.set(counter, { kind, direction, objects: shortened(objects.join(", ")), otherwise });
        current.add(counter);
      }
      // Where nobody reads, edits leave no trail without end.
      for (const name of layerOf.keys()) {
        if (layerOf.size <= current.size + goneLayersMax) break;
        if (!current.has(name)) layerOf.delete(name);
      }
    },
    read: () => {
      if (reading !== undefined) return reading;
      if (clock() - readMs < readEveryMs) return Promise.resolve();
      reading = take().finally(() => (reading = undefined));
      return reading;
    },
    layers: () => [...counts.values()],
    base: () => base,
  };
}

/** The same as metrics. */
export function* policyReadings({ layers, base }: Pick<PolicyCounts, "layers" | "base">): Generator<Reading> {
  for (const { kind, direction, objects, otherwise, packets } of layers()) {
    const name =
      otherwise === "deny" ? "fairlead_policy_denied_packets_total" : "fairlead_policy_audited_packets_total";
    yield [name, [kind, direction, objects], packets];
  }
  for (const why of [unknownClass, midstream, metadataCounter]) {
    yield ["fairlead_policy_refused_packets_total", [why], base().get(why) ?? 0];
  }
  yield ["fairlead_policy_resets_total", [], base().get(resets) ?? 0];
}
