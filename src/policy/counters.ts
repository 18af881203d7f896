// Names of the counters that a policy ruleset has in the kernel: who makes the table and who tells of it mean the same ones.

import type { LayerChains } from "./ruleset.ts";

/** What no rule of a layer allows is counted here. */
export function layerCounter({ name, otherwise }: Pick<LayerChains, "name" | "otherwise">): string {
  return `${name}.${otherwise}`;
}

/** Packets of a class that no map knows; segments of connections that nobody has seen begin, and resets that answered them. */
export const [unknownClass, midstream, resets] = ["unknown_class", "midstream", "resets"] as const;
/** What was closed of the cloud's metadata address; there where it is closed. */
export const metadataCounter = "metadata";
export const baseCounters = [unknownClass, midstream, resets] as const;

/** What is counted under no name of its own. */
export const otherCounters = "other";
