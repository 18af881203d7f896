// The audit at the end of a test: a node whose agent the test started must hold exactly what the test has attached.

import type { TestContext } from "node:test";
import { auditNode, auditText } from "../lab/audit/audit.ts";
import type { AuditedNode } from "../lab/audit/node.ts";
import { describe } from "../src/base/fault.ts";

/** What the programs that look need to know of this computer. */
const env = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };

/** What a test damaged on purpose and leaves so. */
interface Damage {
  seen: RegExp;
  why: string;
}

/** What lives as long as the audited node: a test, as a rule. */
export type AuditScope = Pick<TestContext, "after" | "passed" | "diagnostic">;

export interface EndAudit {
  /**
   * Says that a difference stays at the end of the test, and why. Every difference that `seen` matches is then as it
   * should be; where it matches none, the audit fails as well.
   */
  expectDamage(seen: RegExp, why: string): void;
  /** Audits now: every difference that is not expected, none where all is well. `withinMs`: how long some may take to pass. */
  problems(options?: { withinMs?: number }): Promise<string[]>;
  /** The same. @throws Error that lists them */
  run(): Promise<void>;
}

/**
 * Has `node` audited when the test ends, before anything is taken away that is registered with `t` after this; the test
 * fails once all of that is gone. Where `node` gives undefined there is nothing to audit: no agent was ever up.
 */
export function auditAtEnd(t: AuditScope, node: () => AuditedNode | undefined): EndAudit {
  const damages: Damage[] = [];
  const problems: EndAudit["problems"] = async (options = {}) => {
    const audited = node();
    return audited === undefined ? [] : judge(await auditNode(audited, { env, ...options }), damages);
  };
  const run = async (): Promise<void> => {
    const found = await problems();
    if (found.length > 0) throw new Error(auditText(`the node ${node()?.netnsPath}`, found));
  };
  t.after(async () => {
    const failure = await run().then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failure === undefined) return;
    if (!t.passed) t.diagnostic(describe(failure)); // the test has an error of its own, which is the one that is told
    // A hook that throws keeps all later ones from running, and what they remove would stay: so it throws last.
    t.after(() => {
      throw failure;
    });
  });
  return { problems, run, expectDamage: (seen, why) => void damages.push({ seen, why }) };
}

/** What is wrong and was not expected, and what was expected and is not wrong. */
function judge(differences: readonly string[], damages: readonly Damage[]): string[] {
  return [
    ...differences.filter((one) => !damages.some(({ seen }) => seen.test(one))),
    ...damages
      .filter(({ seen }) => !differences.some((one) => seen.test(one)))
      .map(({ seen, why }) => `nothing is wrong that ${String(seen)} would match, though it was expected (${why})`),
  ];
}
