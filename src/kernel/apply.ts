// Applying changes where any failure is the caller's failure.

import type { Netns, Op } from "./contract.ts";

/** Makes the changes in one batch and throws the first failure, after all of them were tried. */
export async function applyAll(netns: Netns, ops: readonly Op[]): Promise<void> {
  const results = await netns.apply(ops);
  const failed = results.find((result) => result.fault !== undefined);
  if (failed?.fault !== undefined) throw failed.fault;
}
