// What the demo tells a newcomer: each claim of the scenario, how it was tried, and what came of it.

import { formatTable } from "../src/base/table.ts";
import type { ScenarioReport, StepReport } from "./run.ts";

interface Claim {
  /** The comment above the step that proves it. */
  text: string;
  how: Set<string>;
  probes: number;
  holds: boolean;
}

/** The table of claims, what commands told, then totals. */
export function demoTable({ steps, probes, ms, ok, left }: ScenarioReport): string {
  const claims = collectClaims(steps);
  const rows = claims.map(({ text, how, probes, holds }) => [
    text,
    [...how].join("; "),
    probes === 0 ? "" : String(probes),
    holds ? "yes" : "NO",
  ]);
  const tidy = left.length === 0 ? "nothing was left behind on this computer" : `left behind: ${left.join(", ")}`;
  const proved = `${claims.filter(({ holds }) => holds).length} of ${claims.length} claims hold`;
  return [
    formatTable(["claim", "how it was tried", "probes", "holds"], rows),
    "",
    ...steps.flatMap(({ shown }) => (shown === undefined ? [] : [shown, ""])),
    `${ok ? "Proved" : "NOT proved"}: ${proved}, ${probes} probes, ${(ms / 1000).toFixed(1)} s; ${tidy}.`,
  ].join("\n");
}

/** A step without a comment of its own belongs to the claim before it. */
function collectClaims(steps: readonly StepReport[]): Claim[] {
  const claims: Claim[] = [];
  for (const { step, how, probes, problems } of steps) {
    if (how === "" && problems === undefined) continue; // it only prepared the next
    let claim = claims.at(-1);
    if (claim === undefined || step.claim !== "" || problems !== undefined) {
      claim = { text: step.claim === "" ? step.text : step.claim, how: new Set(), probes: 0, holds: true };
      claims.push(claim);
    }
    if (how !== "") claim.how.add(how);
    claim.probes += probes;
    claim.holds &&= problems === undefined;
  }
  return claims;
}
