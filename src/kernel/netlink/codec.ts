// The netlink attribute codec: a table says what each attribute is, one encoder and one decoder do the bytes of all of them.

import { assert, unreachable } from "../../base/assert.ts";
import { Fault } from "../../base/fault.ts";
import { type Ip, ipBytes, ipFromBytes } from "../../net/ip.ts";

/** Integers: u and s in the machine's order (little-endian on every machine we run on), be in network order. */
type NumberKind = "u8" | "u16" | "u32" | "s32" | "be16" | "be32";
type BigintKind = "u64" | "be64";

interface PlainAttribute {
  readonly id: number;
  /** "string" ends in a NUL on the wire, "flag" is true by being there, "ip" is 4 or 16 bytes. */
  readonly kind: NumberKind | BigintKind | "string" | "bytes" | "flag" | "ip";
}

interface NestedAttribute {
  readonly id: number;
  readonly kind: "nested";
  readonly of: AttributeTable;
}

interface ListAttribute {
  readonly id: number;
  /** A nest of equal nests, each under the attribute number `elementId` (1 if absent). */
  readonly kind: "list";
  readonly of: AttributeTable;
  readonly elementId?: number;
}

export type Attribute = PlainAttribute | NestedAttribute | ListAttribute;
type Attributes = Readonly<Record<string, Attribute>>;

/** Attributes by name and by number; made by `defineAttributes`. */
export interface AttributeTable<A extends Attributes = Attributes> {
  readonly byName: A;
  readonly byId: ReadonlyMap<number, readonly [name: string, attribute: Attribute]>;
}

type ValueOf<A extends Attribute> = A extends { kind: NumberKind }
  ? number
  : A extends { kind: BigintKind }
    ? bigint
    : A extends { kind: "string" }
      ? string
      : A extends { kind: "bytes" }
        ? Uint8Array
        : A extends { kind: "flag" }
          ? boolean
          : A extends { kind: "ip" }
            ? Ip
            : A extends { kind: "nested"; of: infer T extends AttributeTable }
              ? AttributeValues<T>
              : A extends { kind: "list"; of: infer T extends AttributeTable }
                ? readonly AttributeValues<T>[]
                : never;

/** The object that a table stands for: every attribute may be absent. */
export type AttributeValues<T extends AttributeTable> = {
  -readonly [Name in keyof T["byName"]]?: ValueOf<T["byName"][Name]> | undefined;
};

/** Bytes under construction. What was not written is zero, so padding needs no care. */
export interface Writer {
  bytes: Buffer;
  length: number;
}

/** The largest request that is ever built. */
export const writerSizeMaxBytes = 64 * 1024 * 1024;

/** The length field of an attribute has 16 bits. */
const attributeLenMax = 0xffff;
const attributeHeaderLen = 4;
const nestedFlag = 0x8000;
const idMask = 0x3fff;

const numbers: Record<NumberKind, { size: number; min: number; max: number }> = {
  u8: { size: 1, min: 0, max: 0xff },
  u16: { size: 2, min: 0, max: 0xffff },
  u32: { size: 4, min: 0, max: 0xffff_ffff },
  s32: { size: 4, min: -0x8000_0000, max: 0x7fff_ffff },
  be16: { size: 2, min: 0, max: 0xffff },
  be32: { size: 4, min: 0, max: 0xffff_ffff },
};

/** Makes a table. Nested tables are made first and named by `of`. */
export function defineAttributes<const A extends Attributes>(byName: A): AttributeTable<A> {
  const byId = new Map<number, readonly [string, Attribute]>();
  for (const [name, attribute] of Object.entries(byName)) {
    assert(!byId.has(attribute.id) && attribute.id <= idMask, `attribute number ${attribute.id} of ${name} is its own`);
    byId.set(attribute.id, [name, attribute]);
  }
  return { byName, byId };
}

/** Starts a request; it grows by itself. */
export function createWriter(sizeBytes = 4096): Writer {
  return { bytes: Buffer.alloc(sizeBytes), length: 0 };
}

/** The bytes written so far: a view, valid until the next write. */
export function written(writer: Writer): Buffer {
  return writer.bytes.subarray(0, writer.length);
}

/** Appends `lengthBytes` zeros, rounded up to 4, and gives the offset of the first. */
export function reserve(writer: Writer, lengthBytes: number): number {
  const offset = writer.length;
  const end = offset + align(lengthBytes);
  if (end > writer.bytes.length) {
    assert(end <= writerSizeMaxBytes, `a request fits in ${writerSizeMaxBytes} bytes`);
    const grown = Buffer.alloc(Math.max(end, writer.bytes.length * 2));
    writer.bytes.copy(grown, 0, 0, offset);
    writer.bytes = grown;
  }
  writer.length = end;
  return offset;
}

/** Appends one attribute whose payload `fill` writes; a nest by the flag that says so. For what no table can express. */
export function writeNest(writer: Writer, id: number, fill: () => void): void {
  const start = reserve(writer, attributeHeaderLen);
  fill();
  const length = writer.length - start;
  assert(length <= attributeLenMax, `nested attribute ${id} fits in ${attributeLenMax} bytes, not ${length}`);
  writer.bytes.writeUInt16LE(length, start);
  writer.bytes.writeUInt16LE(id | nestedFlag, start + 2);
}

/**
 * Appends the attributes of `values` that are not undefined, in the order of its keys; a flag only if true.
 * @throws Fault "kernel-refused" naming the attribute whose value the wire cannot hold.
 */
export function encodeAttributes<T extends AttributeTable>(writer: Writer, table: T, values: AttributeValues<T>): void {
  encodeFrom(writer, table, values);
}

function encodeFrom(writer: Writer, table: AttributeTable, values: object): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === false) continue;
    const attribute = table.byName[name];
    assert(attribute !== undefined, `attribute ${name} is in its table`);
    encodeOne(writer, attribute, name, value);
  }
}

function encodeOne(writer: Writer, attribute: Attribute, name: string, value: unknown): void {
  switch (attribute.kind) {
    case "nested":
      if (typeof value !== "object" || value === null) throw unfit(name, attribute.kind, value);
      writeNest(writer, attribute.id, () => encodeFrom(writer, attribute.of, value));
      return;
    case "list":
      if (!Array.isArray(value)) throw unfit(name, attribute.kind, value);
      writeNest(writer, attribute.id, () => {
        for (const element of value) {
          writeNest(writer, attribute.elementId ?? 1, () => encodeFrom(writer, attribute.of, Object(element)));
        }
      });
      return;
    case "flag":
      writeHeader(writer, attribute.id, 0);
      return;
    case "string":
      if (typeof value !== "string" || value.includes("\0")) throw unfit(name, attribute.kind, value);
      // One byte longer than the text: the terminating NUL.
      return writeBytes(writer, attribute.id, name, Buffer.from(`${value}\0`));
    case "ip":
      if (typeof value !== "string") throw unfit(name, attribute.kind, value);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the typed door lets only an Ip through
      return writeBytes(writer, attribute.id, name, ipBytes(value as Ip));
    case "bytes":
      if (!(value instanceof Uint8Array)) throw unfit(name, attribute.kind, value);
      return writeBytes(writer, attribute.id, name, value);
    case "u64":
    case "be64":
      if (typeof value !== "bigint" || BigInt.asUintN(64, value) !== value) throw unfit(name, attribute.kind, value);
      return writeBigint(writer, attribute.id, attribute.kind, value);
    case "u8":
    case "u16":
    case "u32":
    case "s32":
    case "be16":
    case "be32":
      return writeNumber(writer, attribute.id, attribute.kind, name, value);
    default:
      return unreachable(attribute, "kind of attribute");
  }
}

function writeHeader(writer: Writer, id: number, payloadLen: number): number {
  const start = reserve(writer, attributeHeaderLen + payloadLen);
  writer.bytes.writeUInt16LE(attributeHeaderLen + payloadLen, start);
  writer.bytes.writeUInt16LE(id, start + 2);
  return start + attributeHeaderLen;
}

function writeBytes(writer: Writer, id: number, name: string, payload: Uint8Array): void {
  if (attributeHeaderLen + payload.length > attributeLenMax) {
    throw new Fault("kernel-refused", `${name} is ${payload.length} bytes long; netlink holds at most 65531`);
  }
  const at = writeHeader(writer, id, payload.length);
  writer.bytes.set(payload, at);
}

function writeNumber(writer: Writer, id: number, kind: NumberKind, name: string, value: unknown): void {
  const { size, min, max } = numbers[kind];
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw unfit(name, kind, value);
  }
  const at = writeHeader(writer, id, size);
  if (kind === "s32") writer.bytes.writeInt32LE(value, at);
  else if (kind === "be16" || kind === "be32") writer.bytes.writeUIntBE(value, at, size);
  else writer.bytes.writeUIntLE(value, at, size);
}

function writeBigint(writer: Writer, id: number, kind: BigintKind, value: bigint): void {
  const at = writeHeader(writer, id, 8);
  if (kind === "u64") writer.bytes.writeBigUInt64LE(value, at);
  else writer.bytes.writeBigUInt64BE(value, at);
}

/**
 * Reads attributes from any bytes. Those that the table does not know are skipped; of two equal ones the later counts, as in the kernel.
 * @throws Fault "kernel-refused" where the bytes are not well-formed attributes or a known one has an impossible length.
 */
export function decodeAttributes<T extends AttributeTable>(table: T, bytes: Uint8Array): AttributeValues<T> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each value was read by its kind in this very table
  return decodeFrom(table, buffer, 0, buffer.length) as AttributeValues<T>;
}

/**
 * Walks `bytes` between two offsets as attributes: number without flags, and where its payload lies. For reading where a table's
 * objects would cost too much. @throws Fault "kernel-refused" where they are not well-formed
 */
export function eachAttribute(
  bytes: Buffer,
  from: number,
  to: number,
  visit: (id: number, at: number, end: number) => void,
): void {
  let at = from;
  while (to - at >= attributeHeaderLen) {
    const length = bytes.readUInt16LE(at);
    if (length < attributeHeaderLen || length > to - at)
      throw malformed(`an attribute of ${length} bytes in ${to - at}`);
    visit(bytes.readUInt16LE(at + 2) & idMask, at + attributeHeaderLen, at + length);
    at += align(length);
  }
  if (at < to) throw malformed(`${to - at} stray bytes after the last attribute`);
}

function decodeFrom(table: AttributeTable, bytes: Buffer, from: number, to: number): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  eachAttribute(bytes, from, to, (id, at, end) => {
    const entry = table.byId.get(id);
    if (entry !== undefined) values[entry[0]] = decodeOne(entry[1], entry[0], bytes, at, end);
  });
  return values;
}

function decodeOne(attribute: Attribute, name: string, bytes: Buffer, at: number, end: number): unknown {
  switch (attribute.kind) {
    case "nested":
      return decodeFrom(attribute.of, bytes, at, end);
    case "list": {
      const elements: unknown[] = [];
      eachAttribute(bytes, at, end, (id, from, to) => {
        if (id === (attribute.elementId ?? 1)) elements.push(decodeFrom(attribute.of, bytes, from, to));
      });
      return elements;
    }
    case "flag":
      return true;
    case "string": {
      const nul = bytes.indexOf(0, at);
      return bytes.toString("utf8", at, nul >= 0 && nul < end ? nul : end);
    }
    case "bytes":
      return bytes.subarray(at, end);
    case "ip":
      if (end - at !== 4 && end - at !== 16) throw malformed(`${name} of ${end - at} bytes is no address`);
      return ipFromBytes(bytes.subarray(at, end));
    case "u64":
    case "be64":
      if (end - at !== 8) throw malformed(`${name} has ${end - at} bytes, not 8`);
      return attribute.kind === "u64" ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at);
    case "u8":
    case "u16":
    case "u32":
    case "s32":
    case "be16":
    case "be32":
      return readNumber(attribute.kind, name, bytes, at, end);
    default:
      return unreachable(attribute, "kind of attribute");
  }
}

function readNumber(kind: NumberKind, name: string, bytes: Buffer, at: number, end: number): number {
  const { size } = numbers[kind];
  if (end - at !== size) throw malformed(`${name} has ${end - at} bytes, not ${size}`);
  if (kind === "s32") return bytes.readInt32LE(at);
  return kind === "be16" || kind === "be32" ? bytes.readUIntBE(at, size) : bytes.readUIntLE(at, size);
}

function align(lengthBytes: number): number {
  return (lengthBytes + 3) & ~3;
}

function unfit(name: string, kind: string, value: unknown): Fault {
  return new Fault("kernel-refused", `${name} cannot be ${String(value)}: it is no ${kind} that netlink holds`);
}

/** For answers that make no sense; `what` says which bytes. */
export function malformed(what: string): Fault {
  return new Fault("kernel-refused", `the kernel's answer is not well-formed netlink: ${what}`);
}
