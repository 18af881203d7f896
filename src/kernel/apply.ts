// Applying changes where any failure is the caller's failure.

import type { Netns, Op } from "./contract.ts";

/** Makes the changes, if there are any, in one batch and throws the first failure, after all of them were tried. */
export async function applyAll(netns: Netns, ops: readonly Op[]): Promise<void> {
  if (ops.length === 0) return;
  const results = await netns.apply(ops);
  const failed = results.find((result) => result.fault !== undefined);
  if (failed?.fault !== undefined) throw failed.fault;
}
