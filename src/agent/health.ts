// STATUS: whether this node can take pods, and whether those it has may be hurt.

import { describe, Fault } from "../base/fault.ts";
import type { LoopStatus } from "../base/loop.ts";
import type { CniRequest } from "../cni/types.ts";
import type { Pool } from "../ipam/pool.ts";
import { callDelegate, delegateOf } from "./delegate.ts";

/**
 * "normal": runtimes ask every few seconds, and an error makes the node NotReady and in the end evicts its pods; so a full
 * pool is told by ADD and by metrics, not here. "strict": the specification's reading, a node without a free address says so.
 */
export type StatusMode = "normal" | "strict";

export interface HealthDeps {
  pool: Pool;
  statusMode: StatusMode;
  loops: () => LoopStatus[];
}

/** Loops that keep what living pods need in the kernel. */
const dataplaneLoops: ReadonlySet<string> = new Set(["host", "guard", "repair"]);
/** Passes that fail in a row before pods count as hurt: a single one can be a full queue or a busy lock. */
const failuresToTell = 3;

/**
 * Succeeds where pods can be attached and those attached are well.
 * @throws Fault "limited-connectivity" (51) where a loop cannot repair what pods need, "not-available" (50) in strict mode
 * without a free address, "delegate-failed" where the IPAM plugin says so
 */
export async function answerStatus(request: CniRequest, { pool, statusMode, loops }: HealthDeps): Promise<void> {
  const broken = brokenLoops(loops());
  if (broken.length > 0)
    throw new Fault("limited-connectivity", `pods of this node may be cut off: ${broken.join("; ")}`);
  if (request.delegate !== undefined) {
    await callDelegate("STATUS", delegateOf(request, request.delegate));
    return;
  }
  if (statusMode === "normal") return;
  const full = pool.usage().find(({ free }) => free === 0n);
  if (full === undefined) return;
  throw new Fault(
    "not-available",
    `no free IPv${full.family} address on this node: ${full.live} in use, ${full.cooling} cooling, ${full.withheld} withheld`,
  );
}

/** What cannot be repaired at present, in words. */
export function brokenLoops(loops: readonly LoopStatus[]): string[] {
  return loops.flatMap(({ name, failures, lastPass }) =>
    dataplaneLoops.has(name) && failures >= failuresToTell ? [`${name}: ${describe(lastPass?.error)}`] : [],
  );
}
