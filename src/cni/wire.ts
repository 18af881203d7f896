// The frames between the plugin binary and the agent: one request and one reply on a connection, byte for byte.

import { assert } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";

// Header, both ways, integers big-endian: magic (4 bytes), version u16, code u16, body length u32. native/shim.c has the same numbers.
const magic = new TextEncoder().encode("FRLD");
export const wireVersion = 1;
export const headerLength = 12;
/** Largest body, in bytes. */
export const bodyLengthMax = 1_048_576;
/** Most environment entries in a request. */
export const entriesMax = 64;
/** Bytes of an entry before its key: key length u16, value length u32. */
const entryHeaderLength = 6;

/** What the plugin binary was given. */
export interface WireRequest {
  env: ReadonlyMap<string, string>;
  stdin: Uint8Array;
}

/** What the plugin binary is to print, and the exit code it is to leave with. */
export interface WireReply {
  exitCode: number;
  stdout: Uint8Array;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/**
 * Length of the whole frame that begins with `received`, header included; undefined while the header is not all there.
 * @throws Fault "bad-frame" as soon as the bytes cannot become a frame that we read
 */
export function frameLength(received: Uint8Array): number | undefined {
  if (magic.some((byte, at) => at < received.length && received[at] !== byte)) {
    throw badFrame("does not begin with the letters FRLD");
  }
  if (received.length < headerLength) return undefined;
  const view = viewOf(received);
  const version = view.getUint16(4);
  if (version !== wireVersion) throw badFrame(`has version ${version}; this agent reads version ${wireVersion}`);
  const bodyLength = view.getUint32(8);
  if (bodyLength > bodyLengthMax)
    throw badFrame(`has a body of ${bodyLength} bytes; at most ${bodyLengthMax} are read`);
  return headerLength + bodyLength;
}

/**
 * Reads a whole request frame. Standard input is a view into `frame`, not a copy. Bytes of a variable that are not
 * UTF-8 become U+FFFD, which no check lets through where it matters. Of a name given twice the first holds, as getenv(3) has it.
 * @throws Fault "bad-frame"
 */
export function decodeRequest(frame: Uint8Array): WireRequest {
  const { code: entries, body } = openFrame(frame);
  if (entries > entriesMax) throw badFrame(`has ${entries} environment entries; at most ${entriesMax} are read`);
  const view = viewOf(body);
  const env = new Map<string, string>();
  let at = 0;
  for (let entry = 0; entry < entries; entry += 1) {
    if (at + entryHeaderLength > body.length) throw badFrame(`ends within environment entry ${entry}`);
    const valueStart = at + entryHeaderLength + view.getUint16(at);
    const valueEnd = valueStart + view.getUint32(at + 2);
    if (valueEnd > body.length) throw badFrame(`ends within environment entry ${entry}`);
    const key = decoder.decode(body.subarray(at + entryHeaderLength, valueStart));
    if (!env.has(key)) env.set(key, decoder.decode(body.subarray(valueStart, valueEnd)));
    at = valueEnd;
  }
  return { env, stdin: body.subarray(at) };
}

/** @throws Fault "bad-frame" where it would not fit */
export function encodeRequest({ env, stdin }: WireRequest): Uint8Array {
  if (env.size > entriesMax)
    throw badFrame(`would have ${env.size} environment entries; at most ${entriesMax} are sent`);
  const parts: Uint8Array[] = [];
  for (const [name, text] of env) {
    const key = encoder.encode(name);
    const value = encoder.encode(text);
    if (key.length > 0xffff) throw badFrame(`would have a variable name of ${key.length} bytes`);
    const header = new Uint8Array(entryHeaderLength);
    viewOf(header).setUint16(0, key.length);
    viewOf(header).setUint32(2, value.length);
    parts.push(header, key, value);
  }
  return makeFrame(env.size, [...parts, stdin]);
}

/** Reads a whole reply frame; standard output is a view into it. @throws Fault "bad-frame" */
export function decodeReply(frame: Uint8Array): WireReply {
  const { code, body } = openFrame(frame);
  if (code > 255) throw badFrame(`has exit code ${code}; at most 255 can be`);
  return { exitCode: code, stdout: body };
}

/** @throws Fault "bad-frame" where it would not fit */
export function encodeReply({ exitCode, stdout }: WireReply): Uint8Array {
  assert(Number.isInteger(exitCode) && exitCode >= 0 && exitCode <= 255, `${exitCode} is an exit code`);
  return makeFrame(exitCode, [stdout]);
}

function openFrame(frame: Uint8Array): { code: number; body: Uint8Array } {
  const length = frameLength(frame);
  if (length === undefined || frame.length < length) throw badFrame(`ends after ${frame.length} bytes`);
  if (frame.length > length) throw badFrame(`has ${frame.length - length} bytes after its end`);
  return { code: viewOf(frame).getUint16(6), body: frame.subarray(headerLength) };
}

function makeFrame(code: number, parts: readonly Uint8Array[]): Uint8Array {
  const bodyLength = parts.reduce((sum, part) => sum + part.length, 0);
  if (bodyLength > bodyLengthMax)
    throw badFrame(`would have a body of ${bodyLength} bytes; at most ${bodyLengthMax} are sent`);
  const frame = new Uint8Array(headerLength + bodyLength);
  const view = viewOf(frame);
  frame.set(magic);
  view.setUint16(4, wireVersion);
  view.setUint16(6, code);
  view.setUint32(8, bodyLength);
  let at = headerLength;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

/** The bytes may be a window into a larger buffer, as node's are. */
function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function badFrame(why: string): Fault {
  return new Fault("bad-frame", `the frame ${why}`);
}
