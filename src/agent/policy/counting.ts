// What policy counts on this node, for metrics and for GET /policy: whose the counters of the kernel are, and what they say.

import { present } from "../../base/assert.ts";
import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import type { Reading } from "../../base/metrics.ts";
import type { PolicyTable } from "../../kernel/contract.ts";
import type { Compiler } from "../../policy/compile.ts";
import type { PolicyRuleset } from "../../policy/ruleset.ts";
import { createPolicyCounts, type LayerCount, policyReadings } from "./counts.ts";
import { createRuleCounts, type RuleHits } from "./rule-hits.ts";
import type { Judged } from "./subjects.ts";

/** Rules in one answer: those beyond are counted in `more`. */
const rulesToldMax = 10_000;
/** Between two readings of all rules for metrics: of many wide layers one takes a good part of a second. */
const rulesReadEveryMs = 60_000;

/** What GET /policy answers. */
export interface PolicyAnswer {
  layers: readonly LayerCount[];
  /** Rules of objects that judge pods of this node, by object and place in it. */
  rules: readonly RuleHits[];
  /** Rules that are not told. */
  more: number;
}

export interface PolicyCounting {
  /** Says whose the counters of the layers are that are about to be loaded. */
  know: (judged: readonly Judged[], ruleset: PolicyRuleset) => void;
  /** They are loaded, and what is not among them is gone. */
  settle: () => void;
  /** For metrics: read from the kernel now, or a moment ago; as it was read last where the kernel does not answer. */
  readings: () => Promise<Reading[]>;
  /** The same, and what each rule has let begin. @throws Fault as the kernel's table has them */
  answer: () => Promise<PolicyAnswer>;
}

export interface CountingDeps {
  table: Pick<PolicyTable, "counted" | "lookups" | "goneLookups">;
  factsOf: Compiler["factsOf"];
  log: Log;
  /** Milliseconds that never go back. */
  clock: () => number;
}

function* ruleReadings(totals: ReadonlyMap<string, number>): Generator<Reading> {
  for (const [rule, packets] of totals) yield ["fairlead_policy_rule_packets_total", [rule], packets];
}

export function createPolicyCounting({ table, factsOf, log, clock }: CountingDeps): PolicyCounting {
  const counts = createPolicyCounts(table, clock);
  const rules = createRuleCounts(table);
  let rulesReadMs = -Infinity;
  const unlessRefused = async (reading: Promise<unknown>): Promise<void> => {
    await reading.catch((error: unknown) => {
      log.warn({ error: describe(error) }, "what policy has counted could not be read");
    });
  };
  return {
    know: (judged, { layers }) => {
      const asked = new Set(judged.flatMap(({ egress, ingress }) => [...egress, ...ingress]));
      const named = Array.from(asked, (layer) => ({ layer, name: factsOf(layer).name }));
      counts.know(named);
      rules.know(named.map(({ layer, name }) => ({ layer, chains: present(layers.get(name), layer.id) })));
    },
    settle: rules.settle,
    readings: async () => {
      await unlessRefused(counts.read());
      if (clock() - rulesReadMs >= rulesReadEveryMs) {
        rulesReadMs = clock();
        await unlessRefused(rules.read());
      }
      return [...policyReadings(counts), ...ruleReadings(rules.totals())];
    },
    answer: async () => {
      await unlessRefused(counts.read());
      const layers = counts.layers();
      const all = await rules.read();
      return { layers, rules: all.slice(0, rulesToldMax), more: Math.max(0, all.length - rulesToldMax) };
    },
  };
}
