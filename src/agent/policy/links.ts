// The class that each pod's link carries in the kernel.

import type { Log } from "../../base/log.ts";
import type { Pool } from "../../ipam/pool.ts";
import { applyAll } from "../../kernel/apply.ts";
import type { Kernel, Link } from "../../kernel/contract.ts";
import { firstClass } from "../../policy/compile-classes.ts";
import { openGroup } from "../plan.ts";
import { unlessGone } from "../wire.ts";
import type { Judged } from "./subjects.ts";

/**
 * Classes that links of attachments carry, those of pods that are not known again yet among them: their number is nobody else's
 * meanwhile, and where its chains are gone it lets nothing pass.
 */
export function carriedBy(links: readonly Link[], pool: Pool): Set<number> {
  const own = new Set(pool.all().map(({ attachment }) => attachment.wire?.hostIndex));
  const classes = links.filter(({ index, group }) => own.has(index) && group >= firstClass);
  return new Set(classes.map(({ group }) => group));
}

/**
 * Links by which pods reach themselves whatever policy says. Of a pod outside the source guard, what comes back by its link can name
 * anybody as its source: whatever it let begin so, its own packets would answer.
 */
export const selfLinks = (judged: readonly Judged[]): string[] =>
  judged.filter(({ isUnguarded }) => !isUnguarded).map(({ attachment }) => attachment.wire.hostLink);

/** The node's links of judged pods, each with its pod. */
export interface Placed extends Pick<Link, "index" | "group"> {
  judged: Judged;
}

/** Each link of a judged pod, with it. */
export function placedOn(links: readonly Link[], judged: readonly Judged[]): Placed[] {
  const byIndex = new Map(judged.map((one) => [one.attachment.wire.hostIndex, one]));
  return links.flatMap(({ index, group }) => {
    const one = byIndex.get(index);
    return one === undefined ? [] : [{ index, group, judged: one }];
  });
}

/** Gives each link its pod's class; true where one had another. */
export async function moveLinks(
  placed: readonly Placed[],
  groups: ReadonlyMap<string, number>,
  { kernel, pool, log }: { kernel: Kernel; pool: Pool; log: Log },
): Promise<boolean> {
  let moved = 0;
  for (const { index, group, judged } of placed) {
    const to = groups.get(judged.key);
    // Below are links on their way out.
    if (to === undefined || to === group || group < openGroup) continue;
    // Looked at again now: a link that DEL has doomed meanwhile stays so.
    const held = pool.find(judged.attachment);
    if (held === undefined || held.leaving || held.attachment.wire?.hostIndex !== index) continue;
    await unlessGone(applyAll(kernel.node, [{ op: "link.set", link: index, group: to }]));
    moved += 1;
  }
  if (moved > 0) log.info({ pods: moved }, "pods changed their class");
  return moved > 0;
}
