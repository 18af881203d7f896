// What living pods need on the node's side, compared with the kernel and put right where somebody has changed it.

import type { Log } from "../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import type { Metrics } from "../base/metrics.ts";
import type { Pool } from "../ipam/pool.ts";
import { attachmentKey, isWired, type Wired } from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import type { Kernel, Link, LinkChange, Op } from "../kernel/contract.ts";
import { hostLinkAlias, hostRoutes } from "./plan.ts";
import type { PodPolicy } from "./policy/pod-policy.ts";
import { type NodeView, viewNode } from "./rebuild.ts";
import type { Uplink } from "./uplink.ts";
import { unlessGone } from "./wire.ts";

export interface RepairDeps {
  kernel: Kernel;
  pool: Pool;
  uplink: () => Uplink;
  policy: Pick<PodPolicy, "groupOf" | "linkRepaired">;
  log: Log;
  metrics: Pick<Metrics, "repaired">;
}

/** Starts the loop; trigger it when something of a living pod changed. */
export function startRepair(deps: RepairDeps, signal: AbortSignal, onPass: (pass: LoopPass) => void): Loop {
  return startLoop({
    name: "repair",
    sync: () => repair(deps),
    minMs: 200, // several changes of one hand are one pass
    retryMs: 500,
    retryMaxMs: 10_000,
    maxMs: 30_000,
    signal,
    onPass,
  });
}

/** One pass over all attachments that serve. One that has lost its link cannot be repaired here: see vanished.ts. */
export async function repair(deps: RepairDeps): Promise<void> {
  const { kernel, pool, uplink, policy, log, metrics } = deps;
  const view = await viewNode(kernel);
  for (const { attachment } of pool.all()) {
    if (!isWired(attachment)) continue;
    const ops = repairOps(attachment, view, { sources: uplink().addresses, group: policy.groupOf(attachment) });
    if (ops.length === 0) continue;
    // Looked at again now: what is queued for the kernel behind this line comes after it, so a removal that begins later ends
    // as a removal.
    const held = pool.find(attachment);
    if (held?.attachment !== attachment || held.state !== "ready" || held.leaving) continue;
    await unlessGone(applyAll(kernel.node, ops));
    // What came in while it was not judged by its class goes on otherwise.
    if (ops.some((one) => one.op === "link.set" && one.group !== undefined)) policy.linkRepaired();
    log.warn({ attachment: attachmentKey(attachment), repaired: ops.map(({ op }) => op) }, "repaired");
    metrics.repaired("wire", ops.length);
  }
}

/** The node's addresses, and the link group that is the attachment's class, where it is known. */
interface Around {
  sources: Uplink["addresses"];
  group: number | undefined;
}

/** What brings the node's side of an attachment back to what ADD made; nothing where its link is gone. */
export function repairOps(attachment: Wired, view: NodeView, { sources, group }: Around): Op[] {
  const { wire, addresses } = attachment;
  const link = view.links.find(({ index }) => index === wire.hostIndex);
  if (link === undefined) return [];
  const change = linkChange(attachment, link, group);
  // A link that was down has lost its routes and neighbours, whatever the dump still showed; one with another hardware address,
  // its neighbours.
  const all = change?.up === true || change?.mac !== undefined;
  const neighbours = addresses.filter(
    (address) =>
      all ||
      !view.neighbours.some(
        (entry) =>
          entry.link === link.index && entry.address === address && entry.mac === wire.podMac && entry.permanent,
      ),
  );
  const routes = hostRoutes(attachment, sources).filter(
    (want) =>
      all ||
      !view.routes.some(
        (have) =>
          have.to === want.to &&
          have.link === want.link &&
          have.src === want.src &&
          have.protocol === want.protocol &&
          (have.table ?? mainTable) === mainTable,
      ),
  );
  return [
    ...(change === undefined ? [] : [{ op: "link.set", link: link.index, ...change } as const]),
    ...neighbours.map((address): Op => ({ op: "neighbour.set", link: link.index, address, mac: wire.podMac })),
    ...routes.map((route): Op => ({ op: "route.replace", route })),
  ];
}

const mainTable = 254;

function linkChange(attachment: Wired, link: Link, group: number | undefined): LinkChange | undefined {
  const { wire } = attachment;
  const alias = hostLinkAlias(attachment);
  const change: LinkChange = {
    ...(link.up ? {} : { up: true }),
    ...(link.name === wire.hostLink ? {} : { rename: wire.hostLink }),
    ...(group === undefined || link.group === group ? {} : { group }),
    ...(link.mtu === wire.mtu ? {} : { mtu: wire.mtu }),
    ...(link.mac === wire.hostMac ? {} : { mac: wire.hostMac }),
    ...(link.alias === alias ? {} : { alias }),
  };
  return Object.keys(change).length === 0 ? undefined : change;
}
