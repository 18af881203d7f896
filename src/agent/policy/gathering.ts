// Calls that are gathered for a while, and answered by one.

import { pause } from "../../base/pause.ts";

/** Gives what calls `work` once, so long after the first of several calls; not at all once `signal` has aborted. */
export function createGathering(ms: number, signal: AbortSignal, work: () => void): () => void {
  let isGathering = false;
  const gather = async (): Promise<void> => {
    isGathering = true;
    await pause(ms, signal);
    isGathering = false;
    if (!signal.aborted) work();
  };
  return () => {
    if (!isGathering) void gather();
  };
}
