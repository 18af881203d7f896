// How the guard takes the kernel's refusals: retried with a bound, reported in the kernel's own words, and never out of order.

import assert from "node:assert/strict";
import { constants as osConstants } from "node:os";
import { test } from "node:test";
import { present } from "../../base/assert.ts";
import { isFault } from "../../base/fault.ts";
import { parseIp } from "../../net/ip.ts";
import { createSequence, messageFlag, splitMessages } from "../netlink/message.ts";
import { batchMessage } from "./constants.ts";
import { createGuard } from "./guard.ts";
import { turnTriesMax, turnsQueueLenMax } from "./turns.ts";

const { EBUSY, EINTR, ENOENT, EPERM } = osConstants.errno;
const errnoRestart = 85;
const entries = [{ link: "fl1", address: present(parseIp("10.0.0.1"), "an address") }];

/** The acknowledgement of message `sequence`, with the kernel's explanation where there is one. */
function verdict(sequence: number, errno: number, text?: string): Buffer {
  const words = text === undefined ? Buffer.alloc(0) : Buffer.from(`${text}\0`);
  const padded = text === undefined ? 0 : (4 + words.length + 3) & ~3;
  const bytes = Buffer.alloc(36 + padded);
  bytes.writeUInt32LE(bytes.length);
  bytes.writeUInt16LE(2, 4);
  bytes.writeUInt16LE(messageFlag.capped | (text === undefined ? 0 : messageFlag.withAttributes), 6);
  bytes.writeUInt32LE(sequence, 8);
  bytes.writeInt32LE(-errno, 16);
  if (text !== undefined) {
    bytes.writeUInt16LE(4 + words.length, 36);
    bytes.writeUInt16LE(1, 38);
    bytes.set(words, 40);
  }
  return bytes;
}

/** A kernel that refuses the message at `place` of each batch as long as `refusals` lasts, and then acknowledges. */
function refusingKernel(refusals: number[], { place = 1, text }: { place?: number; text?: string } = {}) {
  let batches = 0;
  const call = (request: Uint8Array): Promise<Buffer> => {
    batches += 1;
    const messages = splitMessages(request);
    assert.equal(messages[0]?.type, batchMessage.begin);
    const acknowledged = messages.map(({ flags }) => (flags & messageFlag.ack) !== 0);
    assert.deepEqual(acknowledged.indexOf(true), messages.length - 2, "only the last change asks for an answer");
    const errno = refusals.shift() ?? 0;
    const refused = messages[errno === 0 ? messages.length - 2 : place];
    return Promise.resolve(verdict(present(refused, "a message").sequence, errno, text));
  };
  return { guard: createGuard({ call, nextSequence: createSequence() }), batches: () => batches };
}

for (const errno of [EBUSY, EINTR, errnoRestart]) {
  void test(`errno ${errno} is "not now": tried again at once`, async () => {
    const { guard, batches } = refusingKernel([errno, errno, errno], { place: 0 });
    await guard.admit(entries);
    assert.equal(batches(), 4);
  });
}

void test("the tries have a bound", async () => {
  const { guard, batches } = refusingKernel(Array.from({ length: 100 }, () => EBUSY));
  await assert.rejects(guard.admit(entries), { code: "kernel-busy" });
  assert.equal(batches(), turnTriesMax);
});

void test("a refusal carries the kernel's name and words, and is not tried again", async () => {
  const { guard, batches } = refusingKernel([EPERM], { text: "You may not" });
  await assert.rejects(guard.prune(), (error: unknown) => {
    assert.ok(isFault(error, "kernel-refused"));
    assert.match(error.message, /remove the source guard.*EPERM.*You may not/);
    return true;
  });
  assert.equal(batches(), 1);
});

void test("where the table is gone, admitting fails", async () => {
  const { guard } = refusingKernel([ENOENT]);
  await assert.rejects(guard.admit(entries), { code: "kernel-missing" });
});

void test("an error of the addon is reported by its step, lost answers are asked for again", async () => {
  const errors = [
    Object.assign(new Error("recvmsg"), { code: "ENOBUFS" }),
    Object.assign(new Error("stop"), { code: "ECANCELED" }),
  ];
  const call = (): Promise<Buffer> => Promise.reject(errors.shift() ?? new Error("asked once too often"));
  const guard = createGuard({ call, nextSequence: createSequence() });
  await assert.rejects(guard.admit(entries), { code: "agent-stopping" });
  assert.equal(errors.length, 0);
});

void test("a failed call does not stop those behind it; too long a queue is refused", async () => {
  const { guard } = refusingKernel([EPERM]);
  const calls = Array.from({ length: turnsQueueLenMax + 1 }, () => guard.admit(entries));
  const outcomes = await Promise.allSettled(calls);
  const rejected = outcomes.flatMap((outcome, index) => (outcome.status === "rejected" ? [index] : []));
  assert.deepEqual(rejected, [0, turnsQueueLenMax]);
  await guard.admit(entries);
});
