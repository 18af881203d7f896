// What DEL leaves for later: doomed links removed in batches, cooled addresses freed.

import type { Log } from "../base/log.ts";
import { startLoop, type Loop, type LoopPass } from "../base/loop.ts";
import type { Metrics } from "../base/metrics.ts";
import type { Pool } from "../ipam/pool.ts";
import { attachmentKey } from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Ip } from "../net/ip.ts";
import type { Kernel, Link } from "../kernel/contract.ts";
import { attachmentOfAlias, doomedGroup, hostLinkPrefix, reapingGroup } from "./plan.ts";

/** Links removed by one group delete: a batch holds the kernel's rtnl lock for about 50 ms. */
export const reapBatchMax = 32;
/** Addresses whose connections are looked for at once: those of one batch of links, in both families. */
const forgetBatchMax = 64;
/** Batches of one pass; the rest waits for the next. */
const batchesMax = 64;

export interface ReaperDeps {
  kernel: Kernel;
  pool: Pool;
  log: Log;
  metrics: Pick<Metrics, "reaped">;
}

/** Starts the reaper; trigger it when a link was doomed. */
export function startReaper(deps: ReaperDeps, signal: AbortSignal, onPass: (pass: LoopPass) => void): Loop {
  let askedMs: number | undefined; // when the oldest removal was asked for that no good pass has followed yet
  const loop = startLoop({
    name: "reaper",
    sync: async () => {
      const sinceMs = askedMs;
      askedMs = undefined;
      try {
        await reap(deps);
      } catch (error) {
        askedMs = sinceMs ?? askedMs;
        throw error;
      }
      if (sinceMs !== undefined) deps.metrics.reaped(performance.now() - sinceMs);
    },
    minMs: 20, // lets the DELs of a burst gather
    retryMs: 200,
    retryMaxMs: 10_000,
    maxMs: 5000,
    signal,
    onPass,
  });
  return {
    ...loop,
    trigger: () => {
      askedMs ??= performance.now();
      loop.trigger();
    },
  };
}

/**
 * One pass: removes every doomed link, forgets the connections of the addresses that went with them, then frees what has
 * cooled. Connections are forgotten once more at the end of cooling: whoever still sent to the address meanwhile has made new ones.
 */
export async function reap({ kernel, pool, log }: ReaperDeps): Promise<void> {
  await reapLinks(kernel, log);
  const dead = pool.dead();
  await forget(dead, kernel);
  pool.cleaned(dead);
  const cooled = pool.cooled();
  await forget(cooled, kernel);
  pool.free(cooled);
}

/** Removes every doomed link; what one pass cannot do is left for the next. */
export async function reapLinks(kernel: Kernel, log: Log): Promise<void> {
  for (let batch = 0; batch < batchesMax; batch += 1) {
    const reaped = await reapBatch(kernel, log);
    if (reaped === 0) break;
  }
}

async function forget(addresses: readonly Ip[], { conntrack }: Kernel): Promise<void> {
  for (let at = 0; at < addresses.length; at += forgetBatchMax) {
    await conntrack.forget(addresses.slice(at, at + forgetBatchMax));
  }
}

async function reapBatch(kernel: Kernel, log: Log): Promise<number> {
  const links = await kernel.node.links();
  const doomed = links.filter(({ group }) => group === doomedGroup || group === reapingGroup);
  const strangers = doomed.filter((link) => !isDoomedOfOurs(link));
  if (strangers.length > 0) {
    log.error(
      { links: strangers.map(({ name }) => name) },
      `links that are not ours stand in link group ${doomedGroup} or ${reapingGroup}; move them away`,
    );
  }
  // A group delete takes whatever stands in the group: with a stranger in it nothing is removed by group.
  const groupIsOurs = !strangers.some(({ group }) => group === reapingGroup);
  const batch = doomed.filter(isDoomedOfOurs).slice(0, reapBatchMax);
  if (batch.length === 0) return 0;
  await removeLinks(batch, kernel, { asGroup: groupIsOurs && batch.length > 1 });
  log.info({ attachments: batch.map(nameOf) }, "links removed");
  return batch.length;
}

async function removeLinks(links: readonly Link[], { node }: Kernel, { asGroup }: { asGroup: boolean }): Promise<void> {
  if (!asGroup) {
    await applyAll(
      node,
      links.map(({ index }) => ({ op: "link.remove", link: index })),
    );
    return;
  }
  // Removals of links that vanish in between (their pod's namespace died) fail harmlessly; the next pass sees what is left.
  await node.apply(links.map(({ index }) => ({ op: "link.set", link: index, group: reapingGroup })));
  await applyAll(node, [{ op: "link.removeGroup", group: reapingGroup }]);
}

/** The attachment that a link was for, as every other line of the log has it; the link's own name where its alias was lost. */
function nameOf({ alias, name }: Link): string {
  const attachment = attachmentOfAlias(alias);
  return attachment === undefined ? name : attachmentKey(attachment);
}

function isDoomedOfOurs({ kind, name }: Link): boolean {
  return kind === "veth" && name.startsWith(hostLinkPrefix);
}
