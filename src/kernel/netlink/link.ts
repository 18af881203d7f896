// Links on the wire: create, change, remove, look up, and what the kernel says of them.

import { Fault } from "../../base/fault.ts";
import { macBytes, macFromBytes } from "../../net/mac.ts";
import type { Link, LinkChange, LinkRef, Op, VethPeer } from "../contract.ts";
import {
  type Writer,
  createWriter,
  decodeAttributes,
  defineAttributes,
  encodeAttributes,
  malformed,
  reserve,
  written,
} from "./codec.ts";
import { type Request, goneErrnos, messageFlag } from "./message.ts";

/** Message types (linux/rtnetlink.h). */
export const linkMessage = { new: 16, delete: 17, get: 18, set: 19 } as const;

/** Bytes of text that the kernel keeps as a link's alias (IFALIASZ less its NUL). */
export const aliasLenMax = 255;

/** struct ifinfomsg: family, pad, type u16, index s32, flags u32, change mask u32. */
const headerLen = 16;
const indexMax = 0x7fff_ffff;
const flagUp = 0x1;
/** Set by the kernel's link watch, from a work queue: when it is, packets are queued. */
const flagRunning = 0x40;
/** Carrier: unlike `flagRunning` this one is true the moment both ends are up. */
const flagLowerUp = 0x1_0000;
/** RTEXT_FILTER_SKIP_STATS: counters make four fifths of an answer, and nobody here reads them. */
const skipStats = 0x8;
/**
 * One queue each way, as the kernel ends up with for a veth anyway; unasked it first makes one for every processor that the
 * machine could have, each with its own entries in sysfs.
 */
const oneQueue = { txQueues: 1, rxQueues: 1 } as const;
const addressGeneration = { eui64: 0, none: 1 } as const;

const name = { id: 3, kind: "string" } as const;
const mtu = { id: 4, kind: "u32" } as const;
const group = { id: 27, kind: "u32" } as const;
/** Not "string": the kernel counts a NUL as text here, and an empty alias must have no byte at all. */
const alias = { id: 20, kind: "bytes" } as const;
const mac = { id: 1, kind: "bytes" } as const;

const txQueues = { id: 31, kind: "u32" } as const;
const rxQueues = { id: 32, kind: "u32" } as const;

const peerAttributes = defineAttributes({ name, mac, mtu, txQueues, rxQueues, netnsFd: { id: 28, kind: "u32" } });
/** The peer's value is a link message of its own: header, then `peerAttributes`. */
const vethAttributes = defineAttributes({ peer: { id: 1, kind: "bytes" } });
const vethKind = Buffer.from("veth");
const newKindAttributes = defineAttributes({
  kind: { id: 1, kind: "bytes" },
  veth: { id: 2, kind: "nested", of: vethAttributes },
});
const inet6Attributes = defineAttributes({ addressGeneration: { id: 8, kind: "u8" } });
const familyAttributes = defineAttributes({ inet6: { id: 10, kind: "nested", of: inet6Attributes } });
const requestAttributes = defineAttributes({
  name,
  mac,
  mtu,
  group,
  alias,
  txQueues,
  rxQueues,
  info: { id: 18, kind: "nested", of: newKindAttributes },
  families: { id: 26, kind: "nested", of: familyAttributes },
  extensions: { id: 29, kind: "u32" },
});

// An answer has a table of its own: what lies below "kind" differs from kind to kind.
const kindAttributes = defineAttributes({ kind: { id: 1, kind: "string" } });
const answerAttributes = defineAttributes({
  name,
  mac,
  mtu,
  group,
  alias,
  peerIndex: { id: 5, kind: "u32" },
  info: { id: 18, kind: "nested", of: kindAttributes },
  xdp: { id: 43, kind: "nested", of: defineAttributes({ attached: { id: 2, kind: "u8" } }) },
});

/** Gives `index` if it can be a link's. @throws Fault "kernel-refused" */
export function linkIndex(index: number): number {
  if (Number.isInteger(index) && index >= 1 && index <= indexMax) return index;
  throw new Fault("kernel-refused", `${index} is no link index; the kernel counts links from 1`);
}

/** Writes the header for `ref`. A name goes into an attribute instead: see `nameOf`. */
function writeHeader(writer: Writer, ref: LinkRef, flags = 0, flagMask = 0): void {
  const at = reserve(writer, headerLen);
  writer.bytes.writeInt32LE(typeof ref === "number" ? linkIndex(ref) : 0, at + 4);
  writer.bytes.writeUInt32LE(flags, at + 8);
  writer.bytes.writeUInt32LE(flagMask, at + 12);
}

function nameOf(ref: LinkRef): { name?: string } {
  return typeof ref === "string" ? { name: ref } : {};
}

/** Requests a veth pair, then its indexes: two messages, one round trip. `netnsFd`: the namespace of the peer. */
export function addVethRequests(op: Op & { op: "link.addVeth" }, netnsFd: number): Request[] {
  const peer = peerMessage(op.peer, netnsFd);
  const create: Request = {
    type: linkMessage.new,
    flags: messageFlag.ack | messageFlag.create | messageFlag.exclusive,
    fill: (writer) => {
      writeNewHeader(writer, op.index);
      encodeAttributes(writer, requestAttributes, {
        mac: macBytes(op.mac),
        mtu: op.mtu,
        group: op.group,
        ...oneQueue,
        name: op.name,
        info: { kind: vethKind, veth: { peer } },
      });
    },
  };
  return [create, getLinkRequest(op.name)];
}

function peerMessage({ index, mac, mtu, name }: VethPeer, netnsFd: number): Uint8Array {
  const writer = createWriter(128);
  writeNewHeader(writer, index);
  encodeAttributes(writer, peerAttributes, { mac: macBytes(mac), mtu, ...oneQueue, netnsFd, name });
  return written(writer);
}

/** The header of a link that is to be made; without an index the kernel chooses one. */
function writeNewHeader(writer: Writer, index: number | undefined): void {
  if (index === undefined) reserve(writer, headerLen);
  else writeHeader(writer, index);
}

/**
 * Requests a change. More than one message where the kernel's own order inside one would be wrong: it makes a link-local
 * address before it reads that none is wanted, and before Linux 6.2 refuses to rename a link that the same message takes down.
 */
export function setLinkRequests(ref: LinkRef, change: LinkChange): Request[] {
  const { linkLocal, up, rename } = change;
  const bytes = change.alias === undefined ? undefined : Buffer.from(change.alias);
  if (bytes !== undefined && bytes.length > aliasLenMax) {
    throw new Fault("kernel-refused", `an alias of ${bytes.length} bytes is too long: the kernel keeps ${aliasLenMax}`);
  }
  const requests: Request[] = [];
  if (linkLocal !== undefined) {
    requests.push({
      type: linkMessage.set,
      flags: messageFlag.ack,
      fill: (writer) => {
        writeHeader(writer, ref);
        const inet6 = { addressGeneration: addressGeneration[linkLocal] };
        encodeAttributes(writer, requestAttributes, { ...nameOf(ref), families: { inet6 } });
      },
      // A machine, or a link with an MTU below 1280, without IPv6 has no link-local address either.
      ...(linkLocal === "none" ? { tolerate: ["EAFNOSUPPORT"] } : {}),
    });
  }
  const downFirst = up === false && rename !== undefined;
  if (downFirst) requests.push(changeRequest(ref, { up }));
  const { linkLocal: _, ...rest } = change;
  const hasRest = Object.values(rest).some((value) => value !== undefined);
  if (hasRest || requests.length === 0) requests.push(changeRequest(ref, rest, bytes));
  return requests;
}

function changeRequest(ref: LinkRef, { up, rename, group, mtu, mac }: LinkChange, alias?: Uint8Array): Request {
  return {
    type: linkMessage.set,
    flags: messageFlag.ack,
    fill: (writer) => {
      writeHeader(writer, ref, up === true ? flagUp : 0, up === undefined ? 0 : flagUp);
      encodeAttributes(writer, requestAttributes, {
        ...nameOf(ref),
        name: rename ?? nameOf(ref).name,
        group,
        mtu,
        mac: mac === undefined ? undefined : macBytes(mac),
        alias,
      });
    },
  };
}

/** Requests the removal of one link, by index or name. */
export function removeLinkRequest(ref: LinkRef): Request {
  return {
    type: linkMessage.delete,
    flags: messageFlag.ack,
    tolerate: goneErrnos,
    fill: (writer) => {
      writeHeader(writer, ref);
      encodeAttributes(writer, requestAttributes, nameOf(ref));
    },
  };
}

/** Requests the removal of a whole group. @throws Fault "kernel-refused" for group 0, where every link is by birth. */
export function removeGroupRequest(group: number): Request {
  if (group === 0)
    throw new Fault("kernel-refused", "group 0 holds every link that was not moved: it is never removed");
  return {
    type: linkMessage.delete,
    flags: messageFlag.ack,
    tolerate: goneErrnos,
    fill: (writer) => {
      reserve(writer, headerLen);
      encodeAttributes(writer, requestAttributes, { group });
    },
  };
}

/** Requests one link. */
export function getLinkRequest(ref: LinkRef): Request {
  return {
    type: linkMessage.get,
    flags: messageFlag.ack,
    fill: (writer) => {
      writeHeader(writer, ref);
      encodeAttributes(writer, requestAttributes, { ...nameOf(ref), extensions: skipStats });
    },
  };
}

/** Requests every link of the namespace. */
export function dumpLinksRequest(): Request {
  return {
    type: linkMessage.get,
    flags: messageFlag.dump,
    fill: (writer) => {
      reserve(writer, headerLen);
      encodeAttributes(writer, requestAttributes, { extensions: skipStats });
    },
  };
}

/** Whether the link watch has come by since the link got its carrier, from the body of an RTM_NEWLINK. */
export function decodeCarries(body: Buffer): boolean {
  if (body.length < headerLen) throw malformed(`a link of ${body.length} bytes`);
  return (body.readUInt32LE(8) & flagRunning) !== 0;
}

/** Reads the body of an RTM_NEWLINK. */
export function decodeLink(body: Buffer): Link {
  if (body.length < headerLen) throw malformed(`a link of ${body.length} bytes`);
  const values = decodeAttributes(answerAttributes, body.subarray(headerLen));
  const flags = body.readUInt32LE(8);
  const kind = values.info?.kind ?? "";
  // Tunnels and InfiniBand have hardware addresses of other lengths; no link of ours does.
  const hasMac = values.mac?.length === 6;
  return {
    index: body.readInt32LE(4),
    name: values.name ?? "",
    kind,
    ...(hasMac && values.mac !== undefined ? { mac: macFromBytes(values.mac) } : {}),
    mtu: values.mtu ?? 0,
    up: (flags & flagUp) !== 0,
    running: (flags & flagLowerUp) !== 0,
    group: values.group ?? 0,
    alias: textOf(values.alias),
    ...((values.xdp?.attached ?? 0) === 0 ? {} : { hasXdp: true as const }),
    // 0 while the other end is being removed.
    ...(kind === "veth" && values.peerIndex !== undefined && values.peerIndex !== 0
      ? { peerIndex: values.peerIndex }
      : {}),
  };
}

function textOf(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return "";
  const nul = bytes.indexOf(0);
  return Buffer.from(nul < 0 ? bytes : bytes.subarray(0, nul)).toString("utf8");
}
