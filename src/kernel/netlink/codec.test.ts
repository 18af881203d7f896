// The attribute codec: exact bytes, round trips over every kind, and any bytes at all.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { Fault, isFault } from "../../base/fault.ts";
import { type Ip, ipFromBytes } from "../../net/ip.ts";
import {
  type AttributeTable,
  type AttributeValues,
  createWriter,
  decodeAttributes,
  defineAttributes,
  encodeAttributes,
  reserve,
  writerSizeMaxBytes,
  written,
} from "./codec.ts";

const inner = defineAttributes({ name: { id: 1, kind: "string" }, port: { id: 2, kind: "be16" } });
const everything = defineAttributes({
  u8: { id: 1, kind: "u8" },
  u16: { id: 2, kind: "u16" },
  u32: { id: 3, kind: "u32" },
  s32: { id: 4, kind: "s32" },
  be16: { id: 5, kind: "be16" },
  be32: { id: 6, kind: "be32" },
  u64: { id: 7, kind: "u64" },
  be64: { id: 8, kind: "be64" },
  text: { id: 9, kind: "string" },
  raw: { id: 10, kind: "bytes" },
  on: { id: 11, kind: "flag" },
  ip: { id: 12, kind: "ip" },
  nest: { id: 13, kind: "nested", of: inner },
  list: { id: 15, kind: "list", of: inner },
  seventh: { id: 16, kind: "list", of: inner, elementId: 7 },
});

function encode<T extends AttributeTable>(table: T, values: AttributeValues<T>): Buffer {
  const writer = createWriter(8);
  encodeAttributes(writer, table, values);
  return written(writer);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

void test("each kind has its exact bytes", () => {
  const spelled: [AttributeValues<typeof everything>, string][] = [
    [{ u8: 255 }, "0500 0100 ff000000"],
    [{ u16: 0x1234 }, "0600 0200 34120000"],
    [{ u32: 0x12345678 }, "0800 0300 78563412"],
    [{ s32: -2 }, "0800 0400 feffffff"],
    [{ be16: 0x1234 }, "0600 0500 12340000"],
    [{ be32: 0x12345678 }, "0800 0600 12345678"],
    [{ u64: 0x0102030405060708n }, "0c00 0700 0807060504030201"],
    [{ be64: 0x0102030405060708n }, "0c00 0800 0102030405060708"],
    [{ text: "abcd" }, "0900 0900 6162636400000000"],
    [{ text: "" }, "0500 0900 00000000"],
    [{ raw: Buffer.from([1, 2, 3]) }, "0700 0a00 01020300"],
    [{ raw: new Uint8Array() }, "0400 0a00"],
    [{ on: true }, "0400 0b00"],
    [{ on: false, u8: undefined }, ""],
    [{ ip: ipFromBytes(Buffer.from([10, 0, 0, 1])) }, "0800 0c00 0a000001"],
    [{ nest: { port: 1 } }, "0c00 0d80 0600 0200 00010000"],
    [{ list: [{ port: 1 }, {}] }, "1400 0f80 0c00 0180 0600 0200 00010000 0400 0180"],
    [{ seventh: [{}] }, "0800 1080 0400 0780"],
    [{ s32: 1, u8: 1 }, "0800 0400 01000000 0500 0100 01000000"],
  ];
  for (const [values, expected] of spelled) assert.equal(hex(encode(everything, values)), hex(bytes(expected)));
});

const text = fc.string({ unit: fc.integer({ min: 1, max: 0x2fff }).map((code) => String.fromCodePoint(code)) });
const innerValues = fc.record({ name: text, port: fc.nat(0xffff) }, { requiredKeys: [], noNullPrototype: true });
const anyIp: fc.Arbitrary<Ip> = fc
  .constantFrom(4, 16)
  .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))
  .map(ipFromBytes);
const anyValues = fc.record(
  {
    u8: fc.nat(0xff),
    u16: fc.nat(0xffff),
    u32: fc.nat(0xffff_ffff),
    s32: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
    be16: fc.nat(0xffff),
    be32: fc.nat(0xffff_ffff),
    u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    be64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    text,
    raw: fc.uint8Array().map((array) => Buffer.from(array)),
    on: fc.constant(true),
    ip: anyIp,
    nest: innerValues,
    list: fc.array(innerValues, { maxLength: 5 }),
    seventh: fc.array(innerValues, { maxLength: 5 }),
  },
  { requiredKeys: [], noNullPrototype: true },
);

void test("what was written is read again, whatever buffer it lies in", () => {
  fc.assert(
    fc.property(anyValues, fc.nat(7), (values, shift) => {
      const encoded = encode(everything, values);
      assert.equal(encoded.length % 4, 0);
      const moved = new Uint8Array(encoded.length + shift).fill(0xee);
      moved.set(encoded, shift);
      assert.deepEqual(decodeAttributes(everything, moved.subarray(shift)), { ...values });
    }),
  );
});

void test("any bytes give values or a fault, and nothing else", () => {
  const mangled = fc.tuple(anyValues, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 8 }), fc.nat(3));
  const check = (input: Uint8Array): void => {
    try {
      decodeAttributes(everything, input);
    } catch (error) {
      assert.ok(isFault(error, "kernel-refused"), String(error));
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), check));
  fc.assert(
    fc.property(mangled, ([values, changes, cut]) => {
      const encoded = encode(everything, values);
      for (const [at, value] of changes) if (at < encoded.length) encoded[at] = value;
      check(encoded.subarray(0, encoded.length - cut));
    }),
  );
});

void test("bytes that are no attributes are refused", () => {
  const broken = ["05", "0300 0100", "0c00 0100 00000000", "0600 0100 00010000", "0800 0200 00000000", "0400 0300"];
  broken.push("0700 0c00 01020300", "0900 0800 0000000000000000 00", "0800 0d80 0500 0100", "0400 0100");
  for (const text of broken) {
    assert.throws(() => decodeAttributes(everything, bytes(text)), isRefusal, text);
  }
});

void test("unknown attributes are skipped, flags on a number are not part of it, the later of two counts", () => {
  const read = decodeAttributes(everything, bytes("0800 6300 01020304 0500 0140 07000000 0500 0100 09000000"));
  assert.deepEqual(read, { u8: 9 });
  assert.deepEqual(decodeAttributes(everything, bytes("0700 0900 616200ff")), { text: "ab" });
  assert.deepEqual(decodeAttributes(everything, bytes("0600 0900 61620000")), { text: "ab" });
  const unended = decodeAttributes(everything, bytes("0800 0900 61626364 0500 0100 07000000"));
  assert.deepEqual(unended, { text: "abcd", u8: 7 });
  assert.deepEqual(decodeAttributes(everything, new Uint8Array()), {});
});

void test("values that the wire cannot hold are refused with the attribute's name", () => {
  const unfit: [AttributeValues<typeof everything>, RegExp][] = [
    [{ u8: 256 }, /u8 cannot be 256/],
    [{ u16: -1 }, /u16/],
    [{ u32: 0x1_0000_0000 }, /u32/],
    [{ u32: 1.5 }, /u32 cannot be 1\.5/],
    [{ u32: Number.NaN }, /NaN/],
    [{ s32: 0x8000_0000 }, /s32/],
    [{ be16: 0x1_0000 }, /be16/],
    [{ u64: -1n }, /u64/],
    [{ be64: 2n ** 64n }, /be64/],
    [{ text: "a\0b" }, /text/],
    [{ raw: new Uint8Array(0xffff) }, /raw is 65535 bytes long/],
  ];
  for (const [values, message] of unfit) {
    assert.throws(
      () => encode(everything, values),
      (error: unknown) => isRefusal(error) && message.test(String(error)),
      String(message),
    );
  }
});

void test("what is too long for the length field, or for a request, is a bug and not a wrong length", () => {
  const half = { name: "x".repeat(40_000) };
  assert.throws(() => encode(everything, { list: [half, half] }), isBug);
  assert.equal(encode(everything, { raw: new Uint8Array(65_531) }).length, 65_536);
  assert.throws(() => reserve(createWriter(), writerSizeMaxBytes + 1), isBug);
});

void test("a table with one number twice is a bug", () => {
  assert.throws(() => defineAttributes({ a: { id: 1, kind: "u8" }, b: { id: 1, kind: "u8" } }), isBug);
});

const isRefusal = (error: unknown): boolean => error instanceof Fault && error.code === "kernel-refused";
const isBug = (error: unknown): boolean => error instanceof Fault && error.code === "bug";
