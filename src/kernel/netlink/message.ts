// Netlink messages around the attributes: header, flags, splitting an answer, and the kernel's error as a Fault with its own words.

import { constants as osConstants } from "node:os";
import { Fault, type FaultCode } from "../../base/fault.ts";
import { type Writer, decodeAttributes, defineAttributes, malformed, reserve } from "./codec.ts";

/** NETLINK_ROUTE and NETLINK_NETFILTER (linux/netlink.h). */
export const netlinkProtocol = { route: 0, netfilter: 12 } as const;

/** Types that every netlink protocol shares (linux/netlink.h). */
export const controlMessage = { error: 2, done: 3 } as const;

export const messageFlag = {
  request: 0x1,
  ack: 0x4,
  /** On an answer: what was dumped changed meanwhile. */
  dumpInterrupted: 0x10,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  /** On an error: the request is not echoed whole, and attributes follow. */
  capped: 0x100,
  withAttributes: 0x200,
} as const;

export const messageHeaderLen = 16;

export interface Message {
  type: number;
  flags: number;
  sequence: number;
  /** What follows the header: the family's own header and its attributes. */
  body: Buffer;
}

/** One message to be: what it is, how its body is written, and which refusals are success. */
export interface Request {
  type: number;
  /** Beyond "request", which every one carries. */
  flags: number;
  fill: (writer: Writer) => void;
  /** Names of errors that mean "it is so already". */
  tolerate?: readonly string[];
}

/** What the kernel says where the thing to be removed, or the link that it was on, is gone. */
export const goneErrnos: readonly string[] = ["ENOENT", "ENODEV", "ESRCH", "EADDRNOTAVAIL"];

/** Appends `request` as one message. @throws Fault "kernel-refused" where a value of it does not fit the wire. */
export function writeMessage(writer: Writer, { type, flags, fill }: Request, sequence: number): void {
  const start = reserve(writer, messageHeaderLen);
  fill(writer);
  writer.bytes.writeUInt32LE(writer.length - start, start);
  writer.bytes.writeUInt16LE(type, start + 4);
  writer.bytes.writeUInt16LE(flags | messageFlag.request, start + 6);
  writer.bytes.writeUInt32LE(sequence, start + 8);
}

/** Gives the first of `count` numbers in a row by which answers are known: unique until 2^32 were given, never 0. */
export function createSequence(first = 1): (count: number) => number {
  let next = first;
  return (count) => {
    if (next + count - 1 > 0xffff_ffff) next = 1;
    const given = next;
    next += count;
    return given;
  };
}

/** Splits an answer into its messages. @throws Fault "kernel-refused" where the bytes are cut short. */
export function splitMessages(bytes: Uint8Array): Message[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const messages: Message[] = [];
  let at = 0;
  while (at < buffer.length) {
    const left = buffer.length - at;
    const length = left < messageHeaderLen ? 0 : buffer.readUInt32LE(at);
    if (length < messageHeaderLen || length > left) throw malformed(`a message of ${length} bytes in ${left}`);
    messages.push({
      type: buffer.readUInt16LE(at + 4),
      flags: buffer.readUInt16LE(at + 6),
      sequence: buffer.readUInt32LE(at + 8),
      body: buffer.subarray(at + messageHeaderLen, at + length),
    });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** What an NLMSG_ERROR says. */
export interface Verdict {
  /** 0 for success, else a positive errno. */
  errno: number;
  /** The kernel's explanation, "" where it gives none. */
  text: string;
  /** Byte of our message that the kernel objects to, where it says so. */
  offset?: number;
}

const ackAttributes = defineAttributes({ text: { id: 1, kind: "string" }, offset: { id: 2, kind: "u32" } });

/** Reads the body of an NLMSG_ERROR or NLMSG_DONE: success too is such a message, with errno 0. */
export function readVerdict({ type, flags, body }: Pick<Message, "type" | "flags" | "body">): Verdict {
  if (body.length < 4) throw malformed(`an acknowledgement of ${body.length} bytes`);
  const errno = 0 - body.readInt32LE(0); // not a minus sign: that would make success -0
  if ((flags & messageFlag.withAttributes) === 0) return { errno, text: "" };
  // NLMSG_ERROR repeats our header, and without "capped" our whole message, before its attributes.
  let at = 4;
  if (type === controlMessage.error) {
    if (body.length < 4 + messageHeaderLen) throw malformed(`an acknowledgement of ${body.length} bytes`);
    const echoLen = (flags & messageFlag.capped) === 0 && errno !== 0 ? body.readUInt32LE(4) : messageHeaderLen;
    at += (echoLen + 3) & ~3;
  }
  const { text = "", offset } = decodeAttributes(ackAttributes, body.subarray(Math.min(at, body.length)));
  return { errno, text, ...(offset === undefined ? {} : { offset }) };
}

const errnoNames = new Map(Object.entries(osConstants.errno).map(([name, number]) => [number, name] as const));

/** "ENOENT" for 2; the number itself where it has no name. */
export function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? `errno ${errno}`;
}

const faultCodes: Readonly<Record<string, FaultCode>> = {
  ENOENT: "kernel-missing",
  ENODEV: "kernel-missing",
  ESRCH: "kernel-missing",
  EADDRNOTAVAIL: "kernel-missing",
  EEXIST: "kernel-exists",
  EBUSY: "kernel-busy",
  EAGAIN: "kernel-busy",
  EWOULDBLOCK: "kernel-busy",
  ENOBUFS: "kernel-busy",
  ENOMEM: "kernel-busy",
  EINTR: "kernel-busy",
};

/** The Fault for what the kernel answered to `what`, a phrase such as "route.add 10.0.0.0/8". */
export function verdictFault(what: string, { errno, text, offset }: Verdict): Fault {
  const name = errnoName(errno);
  const words = text === "" ? "" : ` (${text})`;
  return new Fault(faultCodes[name] ?? "kernel-refused", `${what}: the kernel says ${name}${words}`, {
    data: { errno: name, ...(text === "" ? {} : { kernel: text }), ...(offset === undefined ? {} : { offset }) },
  });
}

/** The Fault for an error that the addon threw during `what`: its `code` is an errno name, its message the step. */
export function addonFault(what: string, cause: unknown): Fault {
  const name = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const fault = (code: FaultCode, why: string): Fault =>
    new Fault(code, `${what}: ${why}`, { cause, data: { errno: name } });
  switch (name) {
    case "ETIMEDOUT":
      return fault("call-timeout", "the kernel gave no complete answer in time");
    case "ECANCELED":
      return fault("agent-stopping", "the kernel threads have stopped");
    case "EBADF":
      return fault("kernel-refused", "the namespace was closed meanwhile");
    case "EAGAIN":
      return fault("kernel-busy", "too many calls wait for the kernel already");
    default:
      return fault(faultCodes[name] ?? "kernel-refused", `failed with ${name === "" ? "an unknown error" : name}`);
  }
}
