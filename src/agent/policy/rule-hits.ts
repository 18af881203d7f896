// What each rule has let begin on this node: read from the layers that are in the kernel, and added to what layers that went had counted.

import { keepNewest } from "../../base/newest.ts";
import type { PolicyTable } from "../../kernel/contract.ts";
import { addHits, type Hits, noHits, ruleHits, ruleKey } from "../../policy/hits.ts";
import type { Layer } from "../../policy/model.ts";
import type { LayerChains, LookupCounts } from "../../policy/ruleset.ts";

/** Rules whose hits are kept beyond the layer that they were counted in; of those beyond, what went before is forgotten. */
export const keptRulesMax = 8192;

export interface KnownLayer {
  layer: Layer;
  chains: LayerChains;
}

export interface RuleHits extends Hits {
  /** "SecurityGroup db ingress rule 1". */
  rule: string;
}

/** Rules that have a set of labels of their own; what others let begin is summed under `otherRules`. */
export const rulesLabelledMax = 256;
const otherRules = "others";
/** Rules in their places whose last reading is remembered: more than one ruleset can have. */
const placesMax = 65_536;

export interface RuleCounts {
  /** The layers that are about to be in the kernel. Those before are still known until `settle`. */
  know: (layers: readonly KnownLayer[]) => void;
  /** They are there: takes over what those that went have counted. */
  settle: () => void;
  /** Reads them; by object and place in it, each once. @throws Fault as the kernel's table has them */
  read: () => Promise<RuleHits[]>;
  /** Packets by rule, of what was read so far: an upper bound that never becomes less, whatever rule stands in that place. */
  totals: () => ReadonlyMap<string, number>;
}

/** Counts from when the kernel got each rule, or from when this agent began to know it. */
export function createRuleCounts(table: Pick<PolicyTable, "lookups" | "goneLookups">): RuleCounts {
  let coming: readonly KnownLayer[] = [];
  /** As of the last `settle`: those that are surely there, or were until a moment ago. */
  let current = coming;
  const known = new Map<string, KnownLayer>();
  const totals = createTotals();
  /** Of layers that went, by rule; the one that was added to last is the last. */
  const kept = new Map<string, Hits>();

  const keep = (key: string, hits: Hits): void => {
    if (hits.max === 0) return;
    const sum = addHits(kept.get(key) ?? noHits, hits);
    keepNewest(kept, key, sum, keptRulesMax);
  };
  const retire = (name: string, counts: LookupCounts): void => {
    const gone = known.get(name);
    if (gone === undefined) return;
    const hits = ruleHits(gone.layer, gone.chains, counts);
    for (const [index, rule] of gone.layer.rules.entries()) keep(ruleKey(rule), hits[index] ?? noHits);
  };

  return {
    know: (layers) => {
      coming = layers;
      for (const one of layers) known.set(one.chains.name, one);
    },
    settle: () => {
      current = coming;
      for (const [name, counts] of table.goneLookups()) retire(name, counts);
      const names = new Set(current.map(({ chains }) => chains.name));
      for (const name of known.keys()) if (!names.has(name)) known.delete(name);
    },
    read: async () => {
      const layers = current;
      const counts = await table.lookups(layers.map(({ chains }) => chains));
      const sums = new Map<string, { key: string; hits: Hits }[]>();
      const told = new Set<string>();
      for (const { layer, chains } of layers) {
        const found = counts.get(chains.name);
        const hits = found === undefined ? [] : ruleHits(layer, chains, found);
        for (const [index, rule] of layer.rules.entries()) {
          const key = ruleKey(rule);
          // What went before belongs to the first of those that say the same.
          const before = told.has(key) ? noHits : (kept.get(key) ?? noHits);
          told.add(key);
          const of = sums.get(rule.from) ?? [];
          sums.set(rule.from, of);
          of.push({ key, hits: addHits(before, hits[index] ?? noHits) });
        }
      }
      return Array.from(sums, ([rule, of]) => {
        totals.add(rule, of);
        return { rule, ...of.reduce((sum, { hits }) => addHits(sum, hits), noHits) };
      });
    },
    totals: totals.all,
  };
}

/** Sums that never become less: of each rule, what it has more than when it was read last. */
function createTotals(): {
  add: (rule: string, of: readonly { key: string; hits: Hits }[]) => void;
  all: RuleCounts["totals"];
} {
  /** The most that was read, by place and rule: one that was not in the kernel for a moment has not begun anew. */
  const most = new Map<string, number>();
  const sums = new Map<string, number>();
  return {
    add: (rule, of) => {
      const label = sums.has(rule) || sums.size < rulesLabelledMax ? rule : otherRules;
      for (const [key, same] of Map.groupBy(of, (one) => one.key)) {
        const place = `${rule} ${key}`;
        const now = same.reduce((sum, { hits }) => sum + hits.max, 0);
        const before = most.get(place) ?? 0;
        sums.set(label, (sums.get(label) ?? 0) + Math.max(0, now - before));
        keepNewest(most, place, Math.max(before, now), placesMax);
      }
    },
    all: () => sums,
  };
}
