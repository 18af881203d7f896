// What a runtime may ask for at ADD, and what must hold where it is refused.

import assert from "node:assert/strict";
import { hasLink } from "./eyes.ts";
import type { CallChange, Pod, TestNode } from "./node.ts";
import { refused, silent } from "./runtime.ts";

/** A change of a call that asks by `runtimeConfig`. */
export const asking = (runtimeConfig: Record<string, unknown>, more: CallChange = {}): CallChange => ({
  ...more,
  conf: { runtimeConfig, ...more.conf },
});

/** ADD with this runtimeConfig must fail, and leave nothing; DEL with it must succeed. */
export async function refusedAsking(
  node: TestNode,
  pod: Pod,
  runtimeConfig: Record<string, unknown>,
  ...words: [code: number | number[] | "any", ...words: string[]]
) {
  const [codes, ...named] = words;
  refused(await node.call("ADD", pod, asking(runtimeConfig)), codes, ...named);
  assert.ok(!hasLink(pod.ns, pod.ifname));
  silent(await node.call("DEL", pod, asking(runtimeConfig)));
}
