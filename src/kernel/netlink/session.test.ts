// Questions to a kernel that answers by script: interrupted dumps, failed dumps, links that are not there.

import assert from "node:assert/strict";
import { constants as osConstants } from "node:os";
import { test } from "node:test";
import { isFault } from "../../base/fault.ts";
import type { Descriptor } from "../addon.ts";
import { createWriter, reserve, written } from "./codec.ts";
import { controlMessage, messageFlag, splitMessages, writeMessage } from "./message.ts";
import { type Session, createSession, dumpTriesMax } from "./session.ts";

/** A message of an answer: its type, flags, and what its body begins with. */
interface Part {
  type: number;
  flags?: number;
  value?: number;
}

const item = 1000;
const done: Part = { type: controlMessage.done };
const socket = {} as Descriptor; // oxlint-disable-line typescript/no-unsafe-type-assertion -- only passed on

/** A session whose calls are answered by `answers`, in turn. */
function scripted(answers: (Part[] | Error)[]): { session: Session; calls: () => number } {
  let calls = 0;
  const session = createSession(
    {
      call: async (lane, on, request) => {
        assert.equal(lane, 0);
        assert.equal(on, socket);
        const [sent] = splitMessages(request);
        const parts = answers[calls] ?? assert.fail("no more answers");
        calls += 1;
        if (parts instanceof Error) throw parts;
        const writer = createWriter();
        for (const { type, flags = 0, value = 0 } of parts) {
          const fill = (): void => {
            const at = reserve(writer, 20);
            writer.bytes.writeInt32LE(value, at);
          };
          writeMessage(writer, { type, flags, fill }, sent?.sequence ?? 0);
        }
        return written(writer);
      },
      close: () => {},
    },
    socket,
  );
  return { session, calls: () => calls };
}

const request = { type: 1, flags: messageFlag.dump, fill: () => {} };
const dump = (session: Session): Promise<number[]> =>
  session.dump("reading items", item, request, (body) => body.readInt32LE(0));
const interrupted = [{ type: item, value: 1, flags: messageFlag.dumpInterrupted }, done];

void test("a dump gives what it names, and skips what it has no value for", async () => {
  const { session } = scripted([[{ type: item, value: 1 }, { type: 999 }, { type: item, value: 2 }, done]]);
  assert.deepEqual(await dump(session), [1, 2]);
  const odd = scripted([[{ type: item, value: 1 }, { type: item, value: 2 }, done]]).session;
  assert.deepEqual(await odd.dump("x", item, request, (body) => (body.readInt32LE(0) === 1 ? undefined : "two")), [
    "two",
  ]);
});

void test("an interrupted dump is read again, whichever message says so, and nothing of it is kept", async () => {
  const { EINTR } = osConstants.errno;
  const { session, calls } = scripted([
    interrupted,
    [
      { type: item, value: 1 },
      { ...done, flags: messageFlag.dumpInterrupted },
    ],
    [
      { type: item, value: 1 },
      { ...done, value: -EINTR },
    ],
    [{ type: item, value: 5 }, done],
  ]);
  assert.deepEqual(await dump(session), [5]);
  assert.equal(calls(), 4);
});

void test("a dump that never comes through is busy, after a bounded number of tries", async () => {
  const { session, calls } = scripted(Array.from({ length: 100 }, () => interrupted));
  await assert.rejects(
    dump(session),
    (error) => isFault(error, "kernel-busy") && error.message.startsWith("reading items"),
  );
  assert.equal(calls(), dumpTriesMax);
});

void test("a dump that the kernel refuses is a fault, at its end or instead of it", async () => {
  const { EOPNOTSUPP, EPERM } = osConstants.errno;
  const late = scripted([
    [
      { type: item, value: 1 },
      { ...done, value: -EOPNOTSUPP },
    ],
  ]).session;
  await assert.rejects(
    dump(late),
    (error) => isFault(error, "kernel-refused") && /ENOTSUP|EOPNOTSUPP/.test(error.message),
  );
  const early = scripted([[{ type: controlMessage.error, value: -EPERM, flags: messageFlag.capped }]]).session;
  await assert.rejects(dump(early), (error) => isFault(error, "kernel-refused") && /EPERM/.test(error.message));
});

void test("no such link is undefined; any other refusal is a fault", async () => {
  const { ENODEV, EPERM } = osConstants.errno;
  const refusal = (errno: number): Part[] => [{ type: controlMessage.error, value: -errno }];
  const { session } = scripted([refusal(ENODEV), refusal(EPERM)]);
  assert.equal(await session.link("eth0"), undefined);
  await assert.rejects(session.link(3), (error) => isFault(error, "kernel-refused") && /link 3/.test(error.message));
});

void test("a call that fails on the way is a fault that says what was tried", async () => {
  const lost = Object.assign(new Error("recvmsg"), { code: "ETIMEDOUT" });
  const { session } = scripted([lost]);
  await assert.rejects(dump(session), (error) => isFault(error, "call-timeout") && error.cause === lost);
});

void test("a closed session sends nothing", async () => {
  const { session, calls } = scripted([]);
  session.close();
  await assert.rejects(dump(session), (error) => isFault(error, "kernel-refused"));
  assert.equal(calls(), 0);
});
