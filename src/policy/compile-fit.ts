// How much of what was compiled fits into one ruleset: the kernel's table takes a ruleset as a whole or not at all.

import type { policyLimits } from "./limits.ts";
import type { LayerChains } from "./ruleset.ts";

/** Of a ruleset, entries of ports, rules and lists, addresses and networks: see `policyLimits`. */
export type Limits = Readonly<Record<keyof Pick<typeof policyLimits, "ports" | "rules" | "addresses">, number>>;

/** A set by its name, and how many addresses or networks it holds. */
export interface SetSize {
  name: string;
  addresses: number;
}

/** Counts layers and their sets, each name once. */
export interface Tally {
  /** True where the layer still fits, with the sets that it looks into: then they are counted. */
  fits: (layer: LayerChains, sets: Iterable<SetSize>) => boolean;
}

export function createTally(limits: Limits): Tally {
  const layers = new Set<string>();
  const sets = new Set<string>();
  let left = limits;
  return {
    fits: (layer, needed) => {
      if (layers.has(layer.name)) return true;
      const more = new Map([...needed].filter(({ name }) => !sets.has(name)).map((set) => [set.name, set.addresses]));
      const after = {
        ports: left.ports - layer.ports.length,
        rules: left.rules - rulesOf(layer),
        addresses: [...more.values()].reduce((rest, addresses) => rest - addresses, left.addresses),
      };
      if (Math.min(after.ports, after.rules, after.addresses) < 0) return false;
      left = after;
      layers.add(layer.name);
      for (const name of more.keys()) sets.add(name);
      return true;
    },
  };
}

/** Rules of the layer's chains: of the rest, of lists of peers, and the end of each list. */
export function rulesOf({ peerLists, rest }: Pick<LayerChains, "peerLists" | "rest">): number {
  return peerLists.reduce((sum, tests) => sum + tests.length + 1, rest.length);
}
