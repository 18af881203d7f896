// Link indexes that the agent chooses itself, so that everything about a new link can be sent before the kernel has answered.

import { assert } from "../base/assert.ts";

/** The kernel counts up from 1, over all links that a namespace ever had; it does not come here in the life of a machine. */
const firstIndex = 0x1000_0000;
const lastIndex = 0x7fff_ffff;

export interface LinkIndexes {
  hostIndex: number;
  podIndex: number;
}

/** Each call gives two numbers that no link of ours has, nor had since the agent started. */
export type NextLinkIndexes = () => LinkIndexes;

/** `taken`: the indexes of all links that may be ours, journalled or living; numbers go on behind the largest. */
export function createLinkIndexes(taken: Iterable<number>): NextLinkIndexes {
  let next = firstIndex;
  // A living host end may belong to a pair that no journal knows, whose pod end has the number after it.
  for (const index of taken) next = Math.max(next, index + 2);
  return () => {
    assert(next < lastIndex, "there are link indexes left"); // after nine hundred million pods
    next += 2;
    return { hostIndex: next - 2, podIndex: next - 1 };
  };
}
