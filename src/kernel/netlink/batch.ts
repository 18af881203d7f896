// Operations packed into as few sends as the kernel takes, and its answers handed back to each of them.

import { Fault, isFault } from "../../base/fault.ts";
import type { Netns, Op, OpResult } from "../contract.ts";
import { type Writer, createWriter, written } from "./codec.ts";
import { decodeLink, linkMessage } from "./link.ts";
import {
  type Request,
  controlMessage,
  errnoName,
  readVerdict,
  splitMessages,
  verdictFault,
  writeMessage,
} from "./message.ts";
import { opPhrase, opRequests } from "./ops.ts";

/**
 * A batch is closed once it has this many messages: each is answered while we still send, and the answers must fit a
 * receive buffer of the kernel's default size (208 KiB), as the batch itself must fit such a send buffer.
 */
export const batchMessagesMax = 128;

export interface Batch {
  writer: Writer;
  /** Which operation, and which of its requests, a sequence number stands for. */
  pending: Map<number, { at: number; request: Request }>;
  /** It removes links, which takes long: not for the thread that everything else runs on. */
  slow: boolean;
  /** Set where the batch is one rename whose link must be looked up first; it is then packed again with the index. */
  rename?: Rename;
}

/** A link that is to be renamed by its name; the kernel does so by index only: without one, the name in a message is the key. */
export interface Rename {
  at: number;
  op: Op & { op: "link.set" };
}

/**
 * Encodes all of `ops`, in order. `netnsFd` gives a descriptor number for a veth's other namespace.
 * @throws Fault "kernel-refused" where one of them cannot be said; nothing was sent then
 */
export function packBatches(
  ops: readonly Op[],
  netnsFd: (netns: Netns) => number,
  nextSequence: (count: number) => number,
): Batch[] {
  const batches: Batch[] = [];
  let current: Batch | undefined;
  for (const [at, op] of ops.entries()) {
    if (op.op === "link.set" && op.rename !== undefined && typeof op.link === "string") {
      // Packed with some index all the same, so that whatever else is wrong with it shows before anything is sent.
      batches.push({ ...packRename(op, at, 1, nextSequence), rename: { at, op } });
      current = undefined;
      continue;
    }
    const slow = op.op === "link.remove" || op.op === "link.removeGroup";
    if (current === undefined || current.slow !== slow || current.pending.size >= batchMessagesMax) {
      current = { writer: createWriter(), pending: new Map(), slow };
      batches.push(current);
    }
    pack(current, at, op, netnsFd, nextSequence);
  }
  return batches;
}

/** Encodes a rename once the index of its link is known. */
export function packRename(op: Rename["op"], at: number, link: number, nextSequence: (count: number) => number): Batch {
  const batch: Batch = { writer: createWriter(256), pending: new Map(), slow: false };
  pack(batch, at, { ...op, link }, () => 0, nextSequence);
  return batch;
}

function pack(
  { writer, pending }: Batch,
  at: number,
  op: Op,
  netnsFd: (netns: Netns) => number,
  nextSequence: (count: number) => number,
): void {
  try {
    const requests = opRequests(op, netnsFd);
    const first = nextSequence(requests.length);
    for (const [step, request] of requests.entries()) {
      writeMessage(writer, request, first + step);
      pending.set(first + step, { at, request });
    }
  } catch (cause) {
    // A RangeError is Buffer's: a number that does not fit its place in a header.
    if (!isFault(cause, "kernel-refused") && !(cause instanceof RangeError)) throw cause;
    throw new Fault("kernel-refused", `${opPhrase(op)}: ${cause.message}; nothing of the list was sent`, { cause });
  }
}

/** The bytes to send. */
export function batchBytes({ writer }: Batch): Buffer {
  return written(writer);
}

/** What the batch does, for the error of one that failed as a whole. */
export function batchPhrase({ pending }: Batch, ops: readonly Op[]): string {
  const [first] = pending.values();
  const op = first === undefined ? undefined : ops[first.at];
  return `${op === undefined ? "nothing" : opPhrase(op)} and the rest of ${pending.size} message(s)`;
}

/** Puts what `answer` says to the operations of `batch` into `results`. Of several failed messages of one operation the first counts. */
export function readAnswers(batch: Batch, answer: Uint8Array, ops: readonly Op[], results: OpResult[]): void {
  const { pending } = batch;
  for (const message of splitMessages(answer)) {
    const sent = pending.get(message.sequence);
    const result = sent === undefined ? undefined : results[sent.at];
    const op = sent === undefined ? undefined : ops[sent.at];
    if (sent === undefined || result === undefined || op === undefined) continue;
    if (message.type === linkMessage.new && op.op === "link.addVeth" && result.fault === undefined) {
      const { index, peerIndex } = decodeLink(message.body);
      result.index = index;
      if (peerIndex !== undefined) result.peerIndex = peerIndex;
    }
    if (message.type !== controlMessage.error) continue;
    pending.delete(message.sequence);
    const verdict = readVerdict(message);
    if (verdict.errno === 0 || sent.request.tolerate?.includes(errnoName(verdict.errno))) continue;
    result.fault ??= verdictFault(opPhrase(op), verdict);
  }
  for (const { at } of pending.values()) {
    const op = ops[at];
    const result = results[at];
    if (op === undefined || result === undefined) continue;
    result.fault ??= new Fault(
      "kernel-busy",
      `${opPhrase(op)}: the kernel's answer was lost; look before trying again`,
    );
  }
}
