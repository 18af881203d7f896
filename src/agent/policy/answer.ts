// What GET /policy answers: who is denied by what on this node, and what each rule has let begin.

import type { LayerCount, PolicyCounts } from "./counts.ts";
import type { RuleHits } from "./rule-hits.ts";

/** Rules in one answer: those beyond are counted in `more`. */
export const rulesToldMax = 10_000;

export interface PolicyAnswer {
  layers: readonly LayerCount[];
  /** Rules of objects that judge pods of this node. */
  rules: readonly RuleHits[];
  /** Rules that are not told. */
  more: number;
}

export function policyAnswer(counts: Pick<PolicyCounts, "layers">, rules: readonly RuleHits[]): PolicyAnswer {
  return {
    layers: counts.layers(),
    rules: rules.slice(0, rulesToldMax),
    more: Math.max(0, rules.length - rulesToldMax),
  };
}
