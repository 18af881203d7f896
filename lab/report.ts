// How scenario runs are told to people: one line a step, and what a failure looked like.

import type { ScenarioReport, StepReport } from "./run.ts";

/** How a scenario ended; where it failed: the step, what was seen instead, what the agents said last. */
export function reportText({ scenario, steps, audit, ok, ms, probes, logs, left }: ScenarioReport): string {
  const lines = [`${ok ? "passed" : "FAILED"}: ${steps.length} steps, ${probes} probes, ${seconds(ms)}`];
  for (const { step, problems = [] } of steps) {
    if (problems.length === 0) continue;
    lines.push(`${scenario.file}:${step.line}: ${step.text}`, ...problems.map((problem) => `  ${problem}`));
  }
  if (audit.length > 0)
    lines.push("the nodes do not hold exactly what their pods need:", ...audit.map((one) => `  ${one}`));
  for (const { node, text } of logs) lines.push(`last lines of the agent of ${node}:`, text.replaceAll(/^/gm, "  "));
  if (left.length > 0) lines.push(`left behind: ${left.join(", ")}`);
  return lines.join("\n");
}

/** One step that is done. */
export function stepText({ step, ms, probes, how, problems }: StepReport): string {
  const tries = probes === 0 ? "" : ` (${probes} probes)`;
  const seen = measured(step) && how !== "" ? `\n                ${how}` : "";
  return `  ${problems === undefined ? "ok  " : "FAIL"} ${seconds(ms).padStart(7)}  ${step.text}${tries}${seen}`;
}

/** Steps of which people want to know what was counted or timed. */
function measured({ action }: StepReport["step"]): boolean {
  return action.do === "expect" && ["flows", "held connection"].includes(action.expectation.expect);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
