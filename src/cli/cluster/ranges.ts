// How far the ranges of the cluster are given away, by their ledgers; and how far a node's blocks are used: pure.

import { describe } from "../../base/fault.ts";
import { usableAddresses } from "../../ipam/blocks.ts";
import { bookUsage, decodeBook } from "../../ipam/node-blocks.ts";
import type { BlockLedger } from "../../kube/objects.ts";
import { type Cidr, cidrContains, cidrFamily } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import { type Finding, foreign } from "./finding.ts";

export interface RangeUse {
  range: Cidr;
  blockPrefix: number;
  /** Blocks that the range is cut into. */
  blocks: number;
  /** Given to nodes, or kept from them for services. */
  used: number;
  free: number;
  /** Taken for nodes that may not have been told yet. */
  pending: number;
}

export interface Ranges {
  ranges: RangeUse[];
  findings: Finding[];
}

/** Free blocks at which a range is worth a word. */
const fewBlocks = 0.05;

/** Reads the ledgers. */
export function readRanges(ledgers: readonly BlockLedger[]): Ranges {
  const ranges: RangeUse[] = [];
  const findings: Finding[] = [];
  for (const { metadata, spec } of ledgers.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))) {
    const object = `BlockLedger ${metadata.name}`;
    try {
      const { total, free, pending } = bookUsage(decodeBook(spec, []));
      ranges.push({
        range: spec.range,
        blockPrefix: spec.blockPrefix,
        blocks: total,
        used: total - free,
        free,
        pending,
      });
      if (free === 0) {
        const cure = "give the controller a larger range; nodes that have their blocks are not touched";
        findings.push({
          state: "warn",
          code: "range-full",
          object,
          says: `none of ${total} blocks of ${spec.range} is free`,
          cure,
        });
      } else if (free < total * fewBlocks) {
        const says = `${free} of ${total} blocks of ${spec.range} are free`;
        findings.push({ state: "warn", code: "range-nearly-full", object, says, cure: "plan a larger range" });
      }
    } catch (error) {
      const cure = "no block is given until it is mended; the controller's log says the same";
      findings.push({ state: "bad", code: "ledger-unreadable", object, says: foreign(describe(error)), cure });
    }
  }
  return { ranges, findings };
}

/** The part of a node's addresses that pods have, from 0 to 1, of the family that has least left; undefined without blocks. */
export function blocksUse(blocks: readonly Cidr[], addresses: readonly Ip[]): number | undefined {
  const uses = ([4, 6] as const).flatMap((family) => {
    const own = blocks.filter((block) => cidrFamily(block) === family);
    if (own.length === 0) return [];
    const usable = own.reduce((sum, block) => sum + usableAddresses(block).count, 0n);
    const used = addresses.filter((address) => own.some((block) => cidrContains(block, address))).length;
    return [used / Number(usable)];
  });
  return uses.length === 0 ? undefined : Math.max(...uses);
}
