// The BlockLedger objects: one a range, read newest and written under the version that was read.

import { Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { type BlockBook, decodeBook, emptyBook, encodeBook } from "../ipam/node-blocks.ts";
import type { Cache, Kube } from "../kube/contract.ts";
import { nodes } from "../kube/core-objects.ts";
import { type BlockLedger, blockLedgers, nodeNetworks } from "../kube/objects.ts";
import type { Cidr } from "../net/cidr.ts";
import type { ControllerConfig, RangeConfig } from "./config.ts";
import { adopt, namingsOf } from "./give.ts";
import { viewsOf } from "./node-view.ts";

/** A ledger as it was read, and its book. */
export interface Ledger {
  object: BlockLedger;
  book: BlockBook;
}

export interface LedgerDeps {
  kube: Kube;
  config: Pick<ControllerConfig, "ranges" | "serviceRanges">;
  log: Log;
}

/** Name of the object of a range: "v4-10.64.0.0-14", "v6-fd00-64---48". */
export function ledgerName(range: Cidr): string {
  return `${range.includes(":") ? "v6" : "v4"}-${range.replaceAll(/[:/]/g, "-")}`;
}

/** The ledgers as a cache knows them, in the order of the ranges; undefined where one is missing yet. */
export function cachedLedgers(cache: Cache<BlockLedger>, deps: LedgerDeps): Ledger[] | undefined {
  const found = deps.config.ranges.flatMap((range) => {
    const object = cache.get({ name: ledgerName(range.cidr) });
    return object === undefined ? [] : [openLedger(object, range, deps)];
  });
  return found.length === deps.config.ranges.length ? found : undefined;
}

/** The newest ledgers, in the order of the ranges. One that is missing is made, with everything marked that nodes have. */
export async function readLedgers(deps: LedgerDeps, signal: AbortSignal): Promise<Ledger[]> {
  const found: Ledger[] = [];
  for (const range of deps.config.ranges) found.push(openLedger(await readOne(range, deps, signal), range, deps));
  return found;
}

/** @throws Fault "kube-conflict" where another has written it since it was read */
export async function writeLedger({ kube }: LedgerDeps, { object, book }: Ledger, signal: AbortSignal): Promise<void> {
  await kube.replace(blockLedgers, { ...object, spec: encodeBook(book) }, { signal });
}

async function readOne(
  range: RangeConfig,
  { kube, log, config }: LedgerDeps,
  signal: AbortSignal,
): Promise<BlockLedger> {
  const ref = { name: ledgerName(range.cidr) };
  try {
    return await kube.get(blockLedgers, ref, { signal });
  } catch (error) {
    if (!isFault(error, "kube-not-found")) throw error;
  }
  // What is marked has to be all that was ever given: read from storage, Nodes first, since a NodeNetwork only repeats its Node.
  const book = emptyBook(range.cidr, range.blockPrefix, config.serviceRanges);
  const { items: allNodes } = await kube.list(nodes, { signal });
  const { items: allNetworks } = await kube.list(nodeNetworks, { signal });
  adopt(book, namingsOf(viewsOf(allNodes, allNetworks), allNetworks));
  try {
    const made = await kube.create(blockLedgers, { metadata: ref, spec: encodeBook(book) }, { signal });
    log.info({ ledger: ref.name, nodes: allNodes.length }, "made the ledger of a range, with what nodes have");
    return made;
  } catch (error) {
    if (!isFault(error, "kube-exists")) throw error;
    return await kube.get(blockLedgers, ref, { signal });
  }
}

function openLedger(object: BlockLedger, range: RangeConfig, { config }: LedgerDeps): Ledger {
  const { spec, metadata } = object;
  if (spec.range !== range.cidr || spec.blockPrefix !== range.blockPrefix) {
    throw new Fault(
      "bad-config",
      `BlockLedger ${metadata.name} cuts ${spec.range} into blocks of /${spec.blockPrefix}, the configuration ${range.cidr} into /${range.blockPrefix}: ` +
        `nodes live in the old blocks, so keep that size or name another range`,
    );
  }
  return { object, book: decodeBook(spec, config.serviceRanges) };
}
