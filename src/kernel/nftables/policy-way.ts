// What has to go and to come in sets that change, and by which way classes get from their old chains to new ones.

import type { SetIds } from "./expressions.ts";
import { classMaps, policyTableName } from "./policy-base.ts";
import { difference, type Difference, type Element, type Elements } from "./elements.ts";
import { bothChain } from "./policy-layers.ts";
import type { Verdict } from "./ruleset.ts";
import { type ChainImage, chainImage } from "./table-image.ts";

/** Of a set that can change; a new verdict for a key is both. */
export interface Changes extends Difference {
  set: string;
}

export function changesBetween(set: string, before: Elements, after: Elements): Changes {
  return { set, ...difference(before, after) };
}

/** Changes of the class maps in two steps, and the chains that the first of them leads to. */
export interface ClassWay {
  chains: ChainImage[];
  first: Changes[];
  second: Changes[];
}

/**
 * A packet asks the map of the class that it comes from, then that of the class that it goes to. Where only one of them takes
 * something away, each packet meets either the old or the new: one step. A class that is new was closed before: it can come at any
 * time. Else the first step leads each class through its old chain and its new one.
 */
export function classWay(classes: readonly Changes[]): ClassWay {
  const asked = classes.filter(({ set, gone }) => set !== classMaps.toNode && gone.size > 0);
  if (asked.length < 2) return { chains: [], first: [], second: [...classes] };
  const chains = new Map<string, ChainImage>();
  const way: ClassWay = { chains: [], first: [], second: classes.filter((changes) => !asked.includes(changes)) };
  for (const { set, gone, come } of asked) {
    const middle = new Map<string, Element>();
    for (const [key, { verdict: old }] of gone) {
      const verdict = both(old, come.get(key)?.verdict, chains);
      if (verdict !== undefined) middle.set(key, { verdict });
    }
    way.first.push(changesBetween(set, gone, middle));
    way.second.push(changesBetween(set, middle, come));
  }
  return { ...way, chains: [...chains.values()] };
}

/** What passes both verdicts; undefined where the class goes. Verdicts of others than us count for nothing. */
function both(
  old: Verdict | undefined,
  wanted: Verdict | undefined,
  chains: Map<string, ChainImage>,
): Verdict | undefined {
  if (wanted === undefined || old === undefined || !("goto" in old)) return wanted;
  if (!("goto" in wanted)) return old;
  const chain = chainImage(policyTableName, bothChain(old.goto, wanted.goto), noIds);
  chains.set(chain.shape.name, chain);
  return { goto: chain.shape.name };
}

/** These chains have no sets of their own. */
const noIds: SetIds = { of: () => undefined, next: () => 0 };
