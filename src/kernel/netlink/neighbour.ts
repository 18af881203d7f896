// Neighbour entries on the wire.

import { ipFamily } from "../../net/ip.ts";
import { macBytes, macFromBytes } from "../../net/mac.ts";
import type { Neighbour, Op } from "../contract.ts";
import { decodeAttributes, defineAttributes, encodeAttributes, malformed, reserve } from "./codec.ts";
import { familyNumber, familyOf } from "./family.ts";
import { linkIndex } from "./link.ts";
import { type Request, goneErrnos, messageFlag } from "./message.ts";

/** Message types (linux/rtnetlink.h). */
export const neighbourMessage = { new: 28, delete: 29, get: 30 } as const;

/** struct ndmsg: family, 3 bytes of padding, index s32, state u16, flags u8, type u8. */
const headerLen = 12;

const state = { noArp: 0x40, permanent: 0x80 } as const;

const attributes = defineAttributes({ address: { id: 1, kind: "ip" }, mac: { id: 2, kind: "bytes" } });

/** Requests that the entry be added, changed or removed. */
export function neighbourRequest(op: Op & { op: "neighbour.set" | "neighbour.remove" }): Request {
  const setting = op.op === "neighbour.set";
  return {
    type: setting ? neighbourMessage.new : neighbourMessage.delete,
    flags: setting ? messageFlag.ack | messageFlag.create | messageFlag.replace : messageFlag.ack,
    ...(setting ? {} : { tolerate: goneErrnos }),
    fill: (writer) => {
      const at = reserve(writer, headerLen);
      writer.bytes.writeUInt8(familyNumber(ipFamily(op.address)), at);
      writer.bytes.writeInt32LE(linkIndex(op.link), at + 4);
      writer.bytes.writeUInt16LE(setting ? state.permanent : 0, at + 8);
      const mac = op.op === "neighbour.set" ? macBytes(op.mac) : undefined;
      encodeAttributes(writer, attributes, { address: op.address, mac });
    },
  };
}

/** Requests every neighbour of the namespace. */
export function dumpNeighboursRequest(): Request {
  return { type: neighbourMessage.get, flags: messageFlag.dump, fill: (writer) => reserve(writer, headerLen) };
}

/** Reads the body of an RTM_NEWNEIGH; undefined for what is no IP neighbour (multicast and other entries that need no lookup, empty ones). */
export function decodeNeighbour(body: Buffer): Neighbour | undefined {
  if (body.length < headerLen) throw malformed(`a neighbour of ${body.length} bytes`);
  const states = body.readUInt16LE(8);
  if (familyOf(body.readUInt8(0)) === undefined || (states & ~state.noArp) === 0) return undefined;
  const { address, mac } = decodeAttributes(attributes, body.subarray(headerLen));
  if (address === undefined) return undefined;
  return {
    link: body.readInt32LE(4),
    address,
    ...(mac?.length === 6 ? { mac: macFromBytes(mac) } : {}),
    permanent: (states & state.permanent) !== 0,
  };
}
