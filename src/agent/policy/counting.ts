// What policy counts on this node, for metrics and for GET /policy: whose the counters of the kernel are, and what they say.

import { present } from "../../base/assert.ts";
import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import type { PolicyTable } from "../../kernel/contract.ts";
import type { Compiler } from "../../policy/compile.ts";
import type { PolicyRuleset } from "../../policy/ruleset.ts";
import { createPolicyCounts, type LayerCount, type PolicyCounts } from "./counts.ts";
import { createRuleCounts, type RuleHits } from "./rule-hits.ts";
import type { Judged } from "./subjects.ts";

/** Rules in one answer: those beyond are counted in `more`. */
const rulesToldMax = 10_000;

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
  /** Read from the kernel now; as it was read last where the kernel does not answer. */
  counts: () => Promise<PolicyCounts>;
  /** The same, and what each rule has let begin. @throws Fault as the kernel's table has them */
  answer: () => Promise<PolicyAnswer>;
}

export interface CountingDeps {
  table: Pick<PolicyTable, "counted" | "lookups" | "goneLookups">;
  factsOf: Compiler["factsOf"];
  log: Log;
}

export function createPolicyCounting({ table, factsOf, log }: CountingDeps): PolicyCounting {
  const counts = createPolicyCounts(table, () => performance.now());
  const rules = createRuleCounts(table);
  const read = async (): Promise<PolicyCounts> => {
    await counts.read().catch((error: unknown) => {
      log.warn({ error: describe(error) }, "what policy has counted could not be read");
    });
    return counts;
  };
  return {
    know: (judged, { layers }) => {
      const asked = new Set(judged.flatMap(({ egress, ingress }) => [...egress, ...ingress]));
      const named = Array.from(asked, (layer) => ({ layer, name: factsOf(layer).name }));
      counts.know(named);
      rules.know(named.map(({ layer, name }) => ({ layer, chains: present(layers.get(name), layer.id) })));
    },
    settle: rules.settle,
    counts: read,
    answer: async () => {
      const layers = (await read()).layers();
      const all = await rules.read();
      return { layers, rules: all.slice(0, rulesToldMax), more: Math.max(0, all.length - rulesToldMax) };
    },
  };
}
