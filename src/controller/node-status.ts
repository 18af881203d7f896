// What the status of a NodeNetwork has to say of its node: blocks, addresses, and whether all is well with them. Pure.

import type { Condition, NodeNetwork } from "../kube/objects.ts";
import { present } from "../base/assert.ts";
import { type BlockBook, bookUsage, isServiceBlock, placeOf } from "../ipam/node-blocks.ts";
import { type Cidr, cidrsOverlap } from "../net/cidr.ts";
import type { Overlap } from "./claims.ts";
import { heldBlocks, type NodeView } from "./node-view.ts";

/** The one condition: whether the node has its blocks. Reasons in docs/controller.md. */
export const blocksCondition = "BlocksReady";

export interface Judgement {
  /** In the order of `podCIDRs`. */
  blocks: readonly Cidr[];
  status: "True" | "False";
  reason: string;
  message: string;
  /** Somebody has to look at it. */
  warning: boolean;
}

export interface Findings {
  books: readonly BlockBook[];
  overlap?: Overlap;
  /** The range that has no block left for it. */
  full?: Cidr;
  assign: "fairlead" | "cluster";
}

/** Judges what a node has; undefined where it is about to get its blocks and nothing can be said yet. */
export function judge(view: NodeView, { books, overlap, full, assign }: Findings): Judgement | undefined {
  const bad = (reason: string, message: string): Judgement => ({
    blocks: heldBlocks(view), // what living pods have is not taken from them, whatever is wrong with it
    status: "False",
    reason,
    message,
    warning: true,
  });
  if (view.malformed !== undefined) return bad("Malformed", `${view.malformed}; only a new Node object can mend it`);
  if (view.podCidrs.length === 0) {
    if (assign === "cluster")
      return { ...bad("NoPodCIDR", "the cluster has not written podCIDRs on this Node yet"), warning: false };
    return full === undefined ? undefined : bad("RangeFull", fullMessage(books, full));
  }
  if (overlap !== undefined) {
    const { cidr, otherName, otherCidr } = overlap;
    return bad(
      "Overlap",
      `${cidr} overlaps ${otherCidr} of ${otherName}; one of the two Nodes has to be deleted and made anew`,
    );
  }
  const odd = oddity(books, view.podCidrs);
  return {
    blocks: view.podCidrs,
    status: "True",
    reason: odd?.reason ?? "Assigned",
    message: odd?.message ?? "",
    warning: odd !== undefined,
  };
}

function fullMessage(books: readonly BlockBook[], range: Cidr): string {
  const book = books.find((one) => one.range === range);
  const { total, service, given } = present(book && bookUsage(book), `a book of ${range}`);
  return (
    `none of the ${total} blocks of ${range} is free: ${given} are given, ${service} are kept for services; ` +
    `a block comes free when a node leaves the cluster`
  );
}

/** What is odd about networks that a node has: it keeps them, and somebody should know. */
function oddity(
  books: readonly BlockBook[],
  cidrs: readonly Cidr[],
): { reason: "OutsideRanges" | "OtherSize" | "ServiceRange"; message: string } | undefined {
  if (books.length === 0) return undefined;
  for (const cidr of cidrs) {
    const book = books.find(({ range }) => cidrsOverlap(range, cidr));
    if (book === undefined) {
      const ranges = books.map(({ range }) => range).join(", ");
      return { reason: "OutsideRanges", message: `${cidr} lies outside of ${ranges}: nothing keeps others from it` };
    }
    const place = placeOf(book, cidr);
    if (place.kind !== "block")
      return { reason: "OtherSize", message: `${cidr} is no block of /${book.blockPrefix} of ${book.range}` };
    if (isServiceBlock(book, place.block))
      return { reason: "ServiceRange", message: `${cidr} overlaps a service range: those services are not reached` };
  }
  return undefined;
}

type Status = NonNullable<NodeNetwork["status"]>;

/** The status that a judgement makes; times of a condition change only with its `status`. `nowText` is RFC 3339. */
export function statusFrom(view: NodeView, judgement: Judgement, nowText: string): Status {
  const { network } = view;
  const { status, reason, message } = judgement;
  const before = network?.status?.conditions?.find(({ type }) => type === blocksCondition);
  const condition: Condition = {
    type: blocksCondition,
    status,
    reason,
    message: message.slice(0, 1024),
    lastTransitionTime: before?.status === status ? before.lastTransitionTime : nowText,
  };
  const generation = network?.metadata.generation;
  return {
    nodeUid: view.uid,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    blocks: judgement.blocks.map((cidr) => ({ cidr })),
    addresses: [...view.addresses],
    conditions: [condition],
  };
}

/** True where the NodeNetwork tells the same already. */
export function sameStatus(before: Status | undefined, after: Status): boolean {
  return before !== undefined && JSON.stringify(ordered(before)) === JSON.stringify(ordered(after));
}

const ordered = ({ nodeUid, observedGeneration, blocks, addresses, conditions = [] }: Status): unknown => [
  nodeUid,
  observedGeneration,
  blocks.map(({ cidr }) => cidr),
  addresses,
  conditions.map(({ type, status, reason, message, lastTransitionTime }) => [
    type,
    status,
    reason,
    message,
    lastTransitionTime,
  ]),
];
