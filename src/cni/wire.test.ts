// Frames: exact bytes, every limit, and random bytes that must never do worse than be refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { isFault } from "../base/fault.ts";
import {
  bodyLengthMax,
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  entriesMax,
  frameLength,
  headerLength,
} from "./wire.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

function refuses(action: () => unknown, message: RegExp): void {
  assert.throws(action, (error) => isFault(error, "bad-frame") && message.test(error.message));
}

/** A frame made by hand, so that any field can be wrong. */
function frame({
  magic = "FRLD",
  version = 1,
  code = 0,
  length,
  body = new Uint8Array(),
}: {
  magic?: string;
  version?: number;
  code?: number;
  length?: number;
  body?: Uint8Array;
}): Uint8Array {
  const bytes = Buffer.alloc(headerLength + body.length);
  bytes.write(magic, "latin1");
  bytes.writeUInt16BE(version, 4);
  bytes.writeUInt16BE(code, 6);
  bytes.writeUInt32BE(length ?? body.length, 8);
  bytes.set(body, headerLength);
  return bytes;
}

void test("a request has exactly these bytes", () => {
  const encoded = encodeRequest({ env: new Map([["CNI_COMMAND", "ADD"]]), stdin: text("{}") });
  const hex = "46524c44 0001 0001 00000016 000b 00000003 434e495f434f4d4d414e44 414444 7b7d";
  assert.equal(Buffer.from(encoded).toString("hex"), hex.replaceAll(" ", ""));
});

void test("a reply has exactly these bytes", () => {
  assert.equal(
    Buffer.from(encodeReply({ exitCode: 1, stdout: text("{}\n") })).toString("hex"),
    "46524c4400010001000000037b7d0a",
  );
});

const anyRequest = fc.record({
  env: fc
    .array(fc.tuple(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" })), { maxLength: 10 })
    .map((pairs) => new Map(pairs)),
  stdin: fc.uint8Array({ maxLength: 200 }),
});

void test("what is encoded is decoded again, also from the middle of a larger buffer", () => {
  fc.assert(
    fc.property(anyRequest, fc.nat(20), (request, offset) => {
      const encoded = encodeRequest(request);
      const window = new Uint8Array(encoded.length + offset + 5).fill(0xaa);
      window.set(encoded, offset);
      const decoded = decodeRequest(window.subarray(offset, offset + encoded.length));
      assert.deepEqual(decoded.env, request.env);
      assert.deepEqual(Uint8Array.from(decoded.stdin), Uint8Array.from(request.stdin));
    }),
  );
  fc.assert(
    fc.property(fc.nat(255), fc.uint8Array(), (exitCode, stdout) => {
      const decoded = decodeReply(encodeReply({ exitCode, stdout }));
      assert.equal(decoded.exitCode, exitCode);
      assert.deepEqual(Uint8Array.from(decoded.stdout), Uint8Array.from(stdout));
    }),
  );
});

void test("the length is known from the header on, and not before", () => {
  const whole = encodeRequest({ env: new Map([["A", "b"]]), stdin: text("xyz") });
  for (let length = 0; length <= whole.length; length += 1) {
    assert.equal(frameLength(whole.subarray(0, length)), length < headerLength ? undefined : whole.length);
  }
});

void test("what cannot become a frame is refused at its first wrong byte", () => {
  refuses(() => frameLength(text("G")), /FRLD/);
  refuses(() => frameLength(text("FRLX")), /FRLD/);
  refuses(() => frameLength(frame({ magic: "frld" })), /FRLD/);
  refuses(() => frameLength(frame({ version: 2 })), /version 2; this agent reads version 1/);
  refuses(() => frameLength(frame({ version: 0 })), /version 0/);
  assert.equal(frameLength(frame({ length: bodyLengthMax })), headerLength + bodyLengthMax);
  refuses(() => frameLength(frame({ length: bodyLengthMax + 1 })), /at most 1048576/);
  refuses(() => frameLength(frame({ length: 0xffffffff })), /at most 1048576/);
});

void test("a frame that is cut short anywhere, or goes on after its end, is refused", () => {
  const whole = encodeRequest({ env: new Map([["A", "b"]]), stdin: text("xyz") });
  for (let length = 0; length < whole.length; length += 1)
    refuses(() => decodeRequest(whole.subarray(0, length)), /ends after/);
  refuses(() => decodeRequest(Buffer.concat([whole, text("x")])), /1 bytes after its end/);
});

void test("entries that reach beyond the body are refused", () => {
  const entry = Uint8Array.of(0, 1, 0, 0, 0, 2, 0x41, 0x62, 0x63);
  assert.equal(decodeRequest(frame({ code: 1, body: entry })).env.get("A"), "bc");
  for (let length = 0; length < entry.length; length += 1) {
    refuses(
      () => decodeRequest(frame({ code: 1, body: entry.subarray(0, length) })),
      /ends within environment entry 0/,
    );
  }
  refuses(() => decodeRequest(frame({ code: 2, body: entry })), /ends within environment entry 1/);
  refuses(() => decodeRequest(frame({ code: 1, body: Uint8Array.of(0, 0, 0xff, 0xff, 0xff, 0xff) })), /entry 0/);
});

void test("the number of entries is bounded, both ways", () => {
  const env = (size: number): Map<string, string> =>
    new Map(Array.from({ length: size }, (_, index) => [`A${index}`, ""]));
  const stdin = new Uint8Array();
  assert.equal(decodeRequest(encodeRequest({ env: env(entriesMax), stdin })).env.size, entriesMax);
  refuses(() => encodeRequest({ env: env(entriesMax + 1), stdin }), /65 environment entries/);
  refuses(() => decodeRequest(frame({ code: entriesMax + 1, body: new Uint8Array(65 * 6) })), /65 environment entries/);
});

void test("the size is bounded when a frame is made, too", () => {
  const env = new Map<string, string>();
  assert.ok(encodeRequest({ env, stdin: new Uint8Array(bodyLengthMax) }));
  refuses(() => encodeRequest({ env, stdin: new Uint8Array(bodyLengthMax + 1) }), /at most 1048576/);
  refuses(() => encodeReply({ exitCode: 0, stdout: new Uint8Array(bodyLengthMax + 1) }), /at most 1048576/);
  assert.ok(encodeRequest({ env: new Map([["a".repeat(0xffff), ""]]), stdin: new Uint8Array() }));
  refuses(() => encodeRequest({ env: new Map([["a".repeat(0x10000), ""]]), stdin: new Uint8Array() }), /65536 bytes/);
});

void test("of a variable given twice the first holds, and bytes that are not UTF-8 are replaced", () => {
  const body = Uint8Array.of(0, 1, 0, 0, 0, 1, 0x41, 0x31, 0, 1, 0, 0, 0, 1, 0x41, 0x32, 0, 1, 0, 0, 0, 1, 0x42, 0xff);
  const { env } = decodeRequest(frame({ code: 3, body }));
  assert.deepEqual(
    [...env],
    [
      ["A", "1"],
      ["B", "\u{fffd}"],
    ],
  );
});

void test("a reply with an exit code that no program can have is refused", () => {
  refuses(() => decodeReply(frame({ code: 256 })), /exit code 256/);
  assert.throws(
    () => encodeReply({ exitCode: 256, stdout: new Uint8Array() }),
    (error) => isFault(error, "bug"),
  );
});

void test("random bytes are refused with bad-frame and nothing else", () => {
  const junk = fc.uint8Array({ maxLength: 80 });
  const nearly = fc.tuple(fc.nat(5), junk).map(([code, body]) => frame({ code, body }));
  fc.assert(
    fc.property(fc.oneof(junk, nearly), (bytes) => {
      for (const decode of [frameLength, decodeRequest, decodeReply]) {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(isFault(error, "bad-frame"), String(error));
        }
      }
    }),
    { numRuns: 3000 },
  );
});
