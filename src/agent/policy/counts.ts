// What policy has counted on this node since the agent began: packets denied and audited by whom, for metrics and for people.

import { hash } from "node:crypto";
import type { Reading } from "../../base/metrics.ts";
import type { PolicyTable } from "../../kernel/contract.ts";
import { baseCounters, layerCounter, metadataCounter, midstream, resets, unknownClass } from "../../policy/counters.ts";
import type { Layer } from "../../policy/model.ts";

/** Layers that are told by their objects; what others count is summed under `others`. */
export const layersToldMax = 256;
/** Layers that have gone, and whose last count was not read yet; those beyond, the oldest first, are counted under `others`. */
const goneLayersMax = 1024;
const others = "others";
const unnamed = { kind: others, direction: others, objects: [others] };
/** Longest text of a layer's objects in a label: names are left out whole. */
export const objectsLenMax = 512;
/** Between two readings of the kernel, however often somebody asks. */
const readEveryMs = 1_000;

/** What one layer has denied, or audited, whatever its rules were meanwhile. */
export interface LayerCount {
  kind: string;
  direction: string;
  /** "SecurityGroup db", "SecurityGroup web": no rule of any of them allowed these packets. */
  objects: readonly string[];
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

/** Digits in a label of which names are left out, by which it is another than those that begin alike. */
const labelHashLen = 8;

function objectsLabel(objects: readonly string[]): string {
  const text = objects.join(", ");
  if (text.length <= objectsLenMax) return text;
  const mark = hash("sha256", text).slice(0, labelHashLen);
  const leaving = (count: number): string => ` and ${count} more (${mark})`;
  const end = text.lastIndexOf(", ", objectsLenMax - leaving(objects.length).length);
  const told = text.slice(0, end);
  return `${told}${leaving(objects.length - told.split(", ").length)}`;
}

/** Whose packets a counter counts. */
interface Owner extends Omit<LayerCount, "packets"> {
  /** Equal for layers that are told as one. */
  key: string;
}

function owner({ kind, direction, objects, otherwise }: Omit<LayerCount, "packets">): Owner {
  return { kind, direction, objects, otherwise, key: JSON.stringify([kind, direction, objects, otherwise]) };
}

const otherLayers = {
  deny: owner({ ...unnamed, otherwise: "deny" }),
  audit: owner({ ...unnamed, otherwise: "audit" }),
};

/** Counts from zero; `clock` in milliseconds. Nothing that it has counted ever becomes less. */
export function createPolicyCounts(table: Pick<PolicyTable, "counted">, clock: () => number): PolicyCounts {
  /** Of counters that are there now, and of those that have gone since the last reading. */
  const layerOf = new Map<string, Owner>();
  let current = new Set<string>();
  const counts = new Map<string, LayerCount>();
  const base = new Map<string, number>([...baseCounters, metadataCounter].map((name) => [name, 0]));
  let readMs = -Infinity;
  let reading: Promise<void> | undefined;

  const countOf = ({ key, ...layer }: Owner): LayerCount => {
    const known = counts.get(key);
    if (known !== undefined) return known;
    if (counts.size >= layersToldMax && layer.kind !== others) return countOf(otherLayers[layer.otherwise]);
    const made = { ...layer, packets: 0 };
    counts.set(key, made);
    return made;
  };
  const take = async (): Promise<void> => {
    const names = new Set(current);
    for (const [name, packets] of await table.counted()) {
      const layer = layerOf.get(name);
      if (layer !== undefined) countOf(layer).packets += packets;
      else if (base.has(name)) base.set(name, (base.get(name) ?? 0) + packets);
      else if (packets > 0) countOf(otherLayers[name.endsWith(".audit") ? "audit" : "deny"]).packets += packets;
    }
    readMs = clock();
    // What has gone before that reading says nothing any more.
    for (const name of layerOf.keys()) if (!names.has(name) && !current.has(name)) layerOf.delete(name);
  };

  return {
    know: (layers) => {
      current = new Set();
      for (const { layer, name } of layers) {
        const counter = layerCounter({ name, otherwise: layer.otherwise });
        // The name tells of all that a layer is.
        if (!layerOf.has(counter)) layerOf.set(counter, owner(layer));
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
    yield [name, [kind, direction, objectsLabel(objects)], packets];
  }
  for (const why of [unknownClass, midstream, metadataCounter]) {
    yield ["fairlead_policy_refused_packets_total", [why], base().get(why) ?? 0];
  }
  yield ["fairlead_policy_resets_total", [], base().get(resets) ?? 0];
}
