// What policy follows from at a moment: the cluster's word, or what an earlier agent kept of it.

import { Fault } from "../../base/fault.ts";
import { pause } from "../../base/pause.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import type { Memberships } from "../../policy/model.ts";
import { readObjects, type ReadObjects } from "../../policy/read-objects.ts";
import type { KeptPolicy } from "./kept.ts";
import type { PolicySource } from "./sources.ts";

/** Longest that an ADD waits for the cluster to tell what judges its pod. */
const knownWithinMs = 5_000;
/** How long a start waits for the cluster's word before what was kept counts: it can be older than what the kernel holds. */
const keptAfterMs = 3_000;
/** How often it is looked whether that time has come: no event tells. */
export const waitingMs = 100;

/** Everything that one pass decides by. */
export interface View {
  objects: ReadObjects;
  told: Memberships;
  /** Addresses that any slice lists, as of now: to be asked before anything is awaited. Absent: any address could be one. */
  listed?: PolicySource["listed"];
}

/**
 * Policy as the cluster tells it once it has told everything. Until then as it was kept, where the API server does not answer;
 * undefined while that is not sure, and where nothing was kept.
 */
export function createView(
  source: PolicySource,
  kept: KeptPolicy | undefined,
  keys: PolicyKeys,
): () => View | undefined {
  const startedMs = performance.now();
  const keptView = kept && { objects: readObjects(kept.objects, keys), told: kept.memberships };
  let counts = false; // what was kept does, until the cluster has told
  return () => {
    if (!source.known()) {
      counts ||= source.failing() || performance.now() - startedMs > keptAfterMs;
      return counts ? keptView : undefined;
    }
    return { objects: source.read(), told: source.memberships(), listed: source.listed };
  };
}

/** @throws Fault "policy-unknown" where neither the cluster nor what was kept tells in time */
export async function viewWithin(
  view: () => View | undefined,
  source: PolicySource,
  signal: AbortSignal,
): Promise<View> {
  const endMs = performance.now() + knownWithinMs;
  for (let now = view(); ; now = view()) {
    if (now !== undefined) return now;
    if (performance.now() >= endMs || signal.aborted) break;
    await pause(waitingMs, signal);
  }
  throw new Fault(
    "policy-unknown",
    `it is not known yet which policies judge this pod: ${source.missing()}; try again`,
  );
}
