// Messages: framing of any bytes, the kernel's errors in its own words, and which fault each errno is.

import assert from "node:assert/strict";
import { constants as osConstants } from "node:os";
import { test } from "node:test";
import * as fc from "fast-check";
import { isFault } from "../../base/fault.ts";
import { createWriter, reserve, written } from "./codec.ts";
import {
  addonFault,
  controlMessage,
  createSequence,
  errnoName,
  messageFlag,
  readVerdict,
  splitMessages,
  verdictFault,
  writeMessage,
} from "./message.ts";

const { ENOENT, EPERM } = osConstants.errno;

void test("messages are framed with their length, flags and number, and split again", () => {
  const bodies = fc.array(fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.nat(0xffff), fc.nat(0xffff_ffff)), {
    maxLength: 6,
  });
  fc.assert(
    fc.property(bodies, (messages) => {
      const writer = createWriter(4);
      for (const [body, type, sequence] of messages) {
        const fill = (): void => {
          const at = reserve(writer, body.length); // may move writer.bytes
          writer.bytes.set(body, at);
        };
        writeMessage(writer, { type, flags: messageFlag.ack, fill }, sequence);
      }
      const read = splitMessages(written(writer));
      assert.deepEqual(
        read.map(({ type, sequence, flags }) => [type, sequence, flags]),
        messages.map(([, type, sequence]) => [type, sequence, messageFlag.ack | messageFlag.request]),
      );
      for (const [at, { body }] of read.entries()) {
        const sent = messages[at]?.[0] ?? new Uint8Array();
        assert.deepEqual([...body.subarray(0, sent.length)], [...sent]);
        assert.ok(body.subarray(sent.length).every((byte) => byte === 0) && body.length - sent.length < 4);
      }
    }),
  );
});

void test("any bytes are messages or a fault", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      try {
        for (const message of splitMessages(bytes)) readVerdict(message);
      } catch (error) {
        assert.ok(isFault(error, "kernel-refused"), String(error));
      }
    }),
  );
  const header = Buffer.from("18000000 0200 0000 01000000 00000000".replaceAll(" ", ""), "hex");
  assert.throws(() => splitMessages(header), /24 bytes in 16/);
  assert.throws(() => splitMessages(Buffer.alloc(16)), /0 bytes in 16/);
  assert.throws(() => splitMessages(Buffer.alloc(15)), /0 bytes in 15/);
});

void test("a last message without its padding is whole", () => {
  const bytes = Buffer.from("11000000 1000 0000 01000000 00000000 07".replaceAll(" ", ""), "hex");
  assert.deepEqual([...(splitMessages(bytes)[0]?.body ?? [])], [7]);
});

/** The body of an NLMSG_ERROR: errno, our header, then what follows. */
function errorBody(errno: number, ...rest: string[]): Buffer {
  const code = Buffer.alloc(4);
  code.writeInt32LE(-errno);
  // Our own message was 32 bytes long.
  return Buffer.concat([
    code,
    Buffer.from(`20000000${"00".repeat(12)}`, "hex"),
    ...rest.map((hex) => Buffer.from(hex, "hex")),
  ]);
}

const said = "090001006f68206e00000000"; // "oh n"
const where = "0800020030000000"; // 48

void test("an acknowledgement says success, an errno, and the kernel's words wherever they stand", () => {
  const { error, done } = controlMessage;
  const { capped, withAttributes } = messageFlag;
  const echo = "ab".repeat(16);
  const cases: [string, number, number, Buffer, object][] = [
    ["success", error, capped, errorBody(0), { errno: 0, text: "" }],
    ["bare", error, capped, errorBody(ENOENT), { errno: ENOENT, text: "" }],
    [
      "capped",
      error,
      capped | withAttributes,
      errorBody(EPERM, said, where),
      { errno: EPERM, text: "oh n", offset: 48 },
    ],
    ["echoed", error, withAttributes, errorBody(EPERM, echo, said), { errno: EPERM, text: "oh n" }],
    ["a warning", error, withAttributes, errorBody(0, said), { errno: 0, text: "oh n" }],
    ["end of dump", done, 0, Buffer.alloc(4), { errno: 0, text: "" }],
    ["dump failed", done, withAttributes, Buffer.from(`feffffff${said}`, "hex"), { errno: ENOENT, text: "oh n" }],
  ];
  for (const [name, type, flags, body, expected] of cases) {
    assert.deepEqual(readVerdict({ type, flags, body }), expected, name);
  }
  assert.throws(() => readVerdict({ type: error, flags: 0, body: Buffer.alloc(3) }), /acknowledgement of 3 bytes/);
  assert.throws(() => readVerdict({ type: error, flags: withAttributes, body: Buffer.alloc(8) }), /of 8 bytes/);
});

void test("each errno is the fault that callers wait for, with the undertaking and the kernel's words", () => {
  const table: Record<string, readonly string[]> = {
    "kernel-missing": ["ENOENT", "ENODEV", "ESRCH", "EADDRNOTAVAIL"],
    "kernel-exists": ["EEXIST"],
    "kernel-busy": ["EBUSY", "EAGAIN", "ENOBUFS", "ENOMEM", "EINTR"],
    "kernel-refused": ["EPERM", "EINVAL", "EOPNOTSUPP", "ENETUNREACH", "ENETDOWN"],
  };
  const numbers = new Map<string, number>(Object.entries(osConstants.errno));
  for (const [code, names] of Object.entries(table)) {
    for (const name of names) {
      const fault = verdictFault("link.set eth0", { errno: numbers.get(name) ?? 0, text: "because" });
      assert.equal(fault.code, code, name);
      assert.match(fault.message, /^link\.set eth0: .*\(because\)$/);
    }
  }
  assert.equal(verdictFault("x", { errno: EPERM, text: "" }).message, "x: the kernel says EPERM");
  assert.equal(errnoName(524), "errno 524");
});

void test("an error of the addon is a fault that says what was tried", () => {
  const thrown = (code: string): Error => Object.assign(new Error("sendmsg"), { code });
  const codes = {
    ETIMEDOUT: "call-timeout",
    ECANCELED: "agent-stopping",
    EAGAIN: "kernel-busy",
    ENOBUFS: "kernel-busy",
  };
  const more = { EBADF: "kernel-refused", EPERM: "kernel-refused", ENOENT: "kernel-missing" };
  for (const [errno, code] of Object.entries({ ...codes, ...more })) {
    const cause = thrown(errno);
    const fault = addonFault("reading links", cause);
    assert.equal(fault.code, code, errno);
    assert.match(fault.message, /^reading links: /);
    assert.equal(fault.cause, cause);
    assert.equal(fault.data["errno"], errno);
  }
  assert.equal(addonFault("x", "not an error").code, "kernel-refused");
});

void test("sequence numbers are unique, come in runs, and are never 0", () => {
  const next = createSequence(0xffff_ffff - 5);
  assert.deepEqual([next(1), next(3), next(4), next(1)], [0xffff_fffa, 0xffff_fffb, 1, 5]);
  assert.equal(createSequence()(1), 1);
});
