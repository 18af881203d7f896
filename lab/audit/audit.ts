// Says whether a node holds exactly what its living attachments need: no leak, no loss. Shares no code with the product's kernel room.

import { pause } from "../../src/base/pause.ts";
import type { Difference } from "./difference.ts";
import { compareFiles } from "./file-set.ts";
import { compareGuard } from "./guard.ts";
import { compareHostSide } from "./host-side.ts";
import { compareFlows, compareLeases } from "./leases.ts";
import { compareLists, livingOn } from "./lists.ts";
import { lookAtNode, type Seen } from "./look.ts";
import { compareMasquerade } from "./masquerade.ts";
import type { AuditedNode } from "./node.ts";
import { comparePolicy } from "./policy.ts";
import { comparePods } from "./pod-side.ts";
import { compareSettings } from "./settings.ts";

/** The pure part: what one look found, against what must be there. */
export function compareNode(node: AuditedNode, seen: Seen): Difference[] {
  const living = livingOn(node, seen);
  return [
    ...compareLists(node, seen),
    ...compareLeases(node, seen),
    ...compareHostSide(node, living, seen),
    ...comparePods(node, living, seen),
    ...compareGuard(living, seen.ruleset),
    ...compareMasquerade(node, seen.ruleset),
    ...comparePolicy(living, {
      links: seen.node.links,
      ruleset: seen.ruleset,
      agentRuns: node.agent === "runs",
    }),
    ...compareFlows(node, living, seen),
    ...compareSettings(node, seen.settings),
    ...compareFiles(node, seen.files),
  ];
}

export interface AuditOptions {
  /** The whole environment of the programs that look. */
  env: Readonly<Record<string, string>>;
  /** How long the agent gets for what it does behind its answers: removing links, applying release files. */
  withinMs?: number;
  signal?: AbortSignal;
}

const withinDefaultMs = 10_000;
const everyMs = 20;

/**
 * Gives every difference, one sentence each; none where the node holds exactly what it should.
 * @throws Fault "lab-failed" where the node cannot be looked at
 */
export function auditNode(node: AuditedNode, { env, ...options }: AuditOptions): Promise<string[]> {
  return settle(async () => compareNode(node, await lookAtNode(node, env)), options);
}

/**
 * Looks again while some differences may pass by themselves, as long as `withinMs` allows. What stays is told only if two
 * looks in a row saw it, since a look is no single instant.
 */
export async function settle(
  look: () => Promise<Difference[]>,
  { withinMs = withinDefaultMs, signal = new AbortController().signal }: Omit<AuditOptions, "env">,
): Promise<string[]> {
  const endMs = performance.now() + withinMs;
  for (let before = ""; ; await pause(everyMs, signal)) {
    const differences = await look();
    const found = differences.map(({ what }) => what);
    const text = found.join("\n");
    const stays = text === before && !differences.some(({ mayPass }) => mayPass);
    if (text === "" || stays || signal.aborted || performance.now() > endMs) return found;
    before = text;
  }
}

/** The differences as one text for people; `what` begins it. */
export function auditText(what: string, differences: readonly string[]): string {
  return [`${what} does not hold exactly what its attachments need:`, ...differences.map((one) => `  ${one}`)].join(
    "\n",
  );
}
