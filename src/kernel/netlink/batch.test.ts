// Lists of operations: how they are cut into sends, and how answers find their operations.

import assert from "node:assert/strict";
import { constants as osConstants } from "node:os";
import { test } from "node:test";
import { present } from "../../base/assert.ts";
import { isFault } from "../../base/fault.ts";
import type { Op, OpResult } from "../contract.ts";
import { hostCidr } from "../../net/cidr.ts";
import { ipFromNumber } from "../../net/ip.ts";
import { parseMac } from "../../net/mac.ts";
import { batchBytes, batchMessagesMax, batchPhrase, packBatches, packRename, readAnswers } from "./batch.ts";
import { createWriter, reserve, written } from "./codec.ts";
import { type Message, controlMessage, createSequence, messageFlag, splitMessages, writeMessage } from "./message.ts";

const noPeer = (): number => assert.fail("no operation here has a peer");
const neighbour = (at: number): Op => ({
  op: "neighbour.set",
  link: 2,
  address: ipFromNumber(4, BigInt(at)),
  mac: present(parseMac("02:00:00:00:00:01"), "mac"),
});

function pack(ops: readonly Op[]) {
  return packBatches(ops, noPeer, createSequence());
}

const messagesOf = (batch: ReturnType<typeof pack>[number]): Message[] => splitMessages(batchBytes(batch));

/** The kernel's answer to one message: 0 for success. */
function acknowledge(writer: ReturnType<typeof createWriter>, sequence: number, errno = 0): void {
  const fill = (): void => {
    const at = reserve(writer, 20);
    writer.bytes.writeInt32LE(-errno, at);
  };
  writeMessage(writer, { type: controlMessage.error, flags: messageFlag.capped, fill }, sequence);
}

function answer(...acks: [sequence: number, errno: number][]): Buffer {
  const writer = createWriter();
  for (const [sequence, errno] of acks) acknowledge(writer, sequence, errno);
  return written(writer);
}

void test("no operations, no sends", () => {
  assert.deepEqual(pack([]), []);
});

void test("a list is cut by its number of messages, in order, with a number for each", () => {
  const ops = Array.from({ length: batchMessagesMax * 2 + 1 }, (_, at) => neighbour(at));
  const batches = pack(ops);
  assert.deepEqual(
    batches.map((batch) => messagesOf(batch).length),
    [batchMessagesMax, batchMessagesMax, 1],
  );
  const sequences = batches.flatMap((batch) => messagesOf(batch).map(({ sequence }) => sequence));
  assert.deepEqual(
    sequences,
    ops.map((_, at) => at + 1),
  );
  assert.deepEqual(
    batches.flatMap(({ pending }) => [...pending.values()].map(({ at }) => at)),
    [...ops.keys()],
  );
  for (const { flags } of batches.flatMap(messagesOf)) assert.ok(flags & messageFlag.ack, "each is acknowledged");
});

void test("no batch is longer than a send buffer of the default size", () => {
  const longest: Op = {
    op: "link.set",
    link: "n".repeat(15),
    alias: "x".repeat(255),
    linkLocal: "none",
    group: 1,
    mtu: 1,
    up: true,
  };
  const lengths = pack(Array.from({ length: 1000 }, () => longest)).map((batch) => batchBytes(batch).length);
  assert.ok(Math.max(...lengths) < 208 * 1024, String(lengths));
});

void test("an operation of several messages stays in one batch", () => {
  const set: Op = { op: "link.set", link: 2, linkLocal: "none", up: true };
  const batches = pack([...Array.from({ length: batchMessagesMax - 1 }, (_, at) => neighbour(at)), set, set]);
  assert.deepEqual(
    batches.map(({ pending }) => pending.size),
    [batchMessagesMax + 1, 2],
  );
});

void test("a rename by name stands alone until its index is known", () => {
  const rename: Op & { op: "link.set" } = { op: "link.set", link: "a", rename: "b" };
  const [before, middle, after, ...rest] = pack([neighbour(1), rename, neighbour(2)]);
  assert.equal(rest.length, 0);
  assert.deepEqual([before?.rename, middle?.rename, after?.rename], [undefined, { at: 1, op: rename }, undefined]);
  const [message] = messagesOf(packRename(rename, 1, 7, createSequence()));
  assert.equal(message?.body.readInt32LE(4), 7);
});

void test("one operation that cannot be said refuses the list, and is named", () => {
  const bad: Op = { op: "link.set", link: 2, mtu: -5 };
  assert.throws(
    () => pack([neighbour(1), bad]),
    (error) =>
      isFault(error, "kernel-refused") &&
      /^link\.set link 2: mtu cannot be -5.*nothing of the list was sent$/.test(error.message),
  );
});

void test("a number that does not fit its place in a header refuses the list too", () => {
  const { address, mac } = neighbour(1) as Op & { op: "neighbour.set" };
  const to = hostCidr(address);
  const unfit: Op[] = [
    { op: "route.add", route: { to, link: 2, protocol: 300 } },
    { op: "route.remove", route: { to, table: -1 } },
    { op: "rule.add", rule: { family: 4, priority: 1, table: -1 } },
    { op: "neighbour.set", link: 2 ** 31, address, mac },
  ];
  for (const op of unfit)
    assert.throws(
      () => pack([op]),
      (error) => isFault(error, "kernel-refused"),
      JSON.stringify(op),
    );
});

void test("answers find their operations by number, whatever their order", () => {
  const { EEXIST, EPERM, ENODEV, EAFNOSUPPORT } = osConstants.errno;
  const ops: Op[] = [
    neighbour(1),
    { op: "link.set", link: 2, linkLocal: "none", up: true },
    { op: "route.remove", route: { to: hostCidr(ipFromNumber(4, 1n)), link: 2 } },
    { op: "link.set", link: 2, linkLocal: "eui64", up: true },
    neighbour(3),
  ];
  const [batch] = pack(ops);
  const results: OpResult[] = ops.map(() => ({}));
  const bytes = answer(
    [7, EEXIST],
    [1, 0],
    [2, EAFNOSUPPORT],
    [3, 0],
    [4, ENODEV],
    [99, EPERM],
    [5, EPERM],
    [6, EEXIST],
  );
  readAnswers(present(batch, "batch"), bytes, ops, results);
  assert.deepEqual(
    results.map(({ fault }) => fault?.code),
    [undefined, undefined, undefined, "kernel-refused", "kernel-exists"],
  );
  assert.equal(results[3]?.fault?.data["errno"], "EPERM", "the first of an operation's failures counts");
});

void test("what removes links goes apart, in the order of the list: it is sent on a thread of its own", () => {
  const ops: Op[] = [neighbour(1), { op: "link.remove", link: 2 }, { op: "link.removeGroup", group: 99 }, neighbour(3)];
  const batches = pack(ops).map(({ slow, pending }) => [slow, [...pending.values()].map(({ at }) => at)]);
  assert.deepEqual(batches, [
    [false, [0]],
    [true, [1, 2]],
    [false, [3]],
  ]);
});

void test("an answer that never came is a failure of its operation", () => {
  const ops = [neighbour(1), neighbour(2)];
  const [batch] = pack(ops);
  const results: OpResult[] = ops.map(() => ({}));
  readAnswers(present(batch, "batch"), answer([1, 0]), ops, results);
  assert.deepEqual(
    results.map(({ fault }) => fault?.code),
    [undefined, "kernel-busy"],
  );
});

void test("a batch is called by its first operation", () => {
  const [batch] = pack([neighbour(1), neighbour(2)]);
  assert.match(
    batchPhrase(present(batch, "batch"), [neighbour(1), neighbour(2)]),
    /^neighbour\.set 0\.0\.0\.1 on link 2/,
  );
});
