// What the policy table counts, read before it goes: counters by name, and what the lookups of layers have let on.

import { isFault } from "../../base/fault.ts";
import { layerCounter } from "../../policy/counters.ts";
import type { LayerChains, LookupCounts, PolicyRuleset } from "../../policy/ruleset.ts";
import type { PolicyTable } from "../contract.ts";
import type { Channel } from "./channel.ts";
import { createCounts } from "./policy-counts.ts";
import { createGoneLookups, readLookups } from "./policy-lookups.ts";
import { readCounters } from "./policy-read.ts";

export interface Counting extends Pick<PolicyTable, "counted" | "goneLookups"> {
  /** Reads what these counters, and the layers that they belong to, have counted. */
  beforeDrop: (counters: readonly string[] | "all") => Promise<void>;
  afterDrop: (counters: readonly string[] | "all") => void;
  /** These layers are in the kernel now, and no others. */
  become: (layers: PolicyRuleset["layers"]) => void;
  lookups: (wanted: readonly LayerChains[]) => Promise<Map<string, LookupCounts>>;
}

export function createCounting(channel: Channel): Counting {
  const counts = createCounts();
  const gone = createGoneLookups();
  /** Of layers that are about to go: an undertaking that is tried again reads them again. */
  let going = new Map<string, LookupCounts>();
  let layers: PolicyRuleset["layers"] = new Map();
  return {
    beforeDrop: async (counters) => {
      going = new Map();
      // A table that is loaded anew may stand open as it is: it is not kept waiting by its lookups, nor by what cannot be read.
      if (counters === "all") {
        await readCounters(channel).then(counts.say, () => undefined);
        return;
      }
      counts.say(await readCounters(channel));
      const names = new Set(counters);
      for (const layer of layers.values()) {
        if (!names.has(layerCounter(layer))) continue;
        try {
          going.set(layer.name, await readLookups(channel, layer));
        } catch (error) {
          // Somebody else has taken it away, with all that it had counted.
          if (!isFault(error, "kernel-missing")) throw error;
        }
      }
    },
    afterDrop: (counters) => {
      counts.dropped(counters);
      for (const [name, lookups] of going) gone.add(name, lookups);
      going = new Map();
    },
    become: (now) => {
      layers = now;
    },
    counted: async () => {
      counts.say(await readCounters(channel));
      return counts.taken();
    },
    lookups: async (wanted) => {
      const read = new Map<string, LookupCounts>();
      for (const layer of wanted) {
        if (layers.has(layer.name)) read.set(layer.name, await readLookups(channel, layer));
      }
      return read;
    },
    goneLookups: gone.taken,
  };
}
