// The packet log of netfilter on the wire: asking for a group, and reading what it sends.

import type { LoggedPacket } from "../flow-log-contract.ts";
import {
  type AttributeValues,
  decodeAttributes,
  defineAttributes,
  encodeAttributes,
  reserve,
} from "../netlink/codec.ts";
import { type Message, type Request, messageFlag } from "../netlink/message.ts";
import { familyHeaderLen } from "../nftables/messages.ts";
import { logPrefixes } from "../nftables/policy-base.ts";
import { readPacket } from "./packet.ts";

/** Message types: NFNL_SUBSYS_ULOG above NFULNL_MSG_* (linux/netfilter/nfnetlink_log.h). */
export const logMessage = { packet: 0x400, config: 0x401 } as const;

/** NFULNL_CFG_CMD_BIND, NFULNL_COPY_PACKET, NFULNL_CFG_F_SEQ. */
const [bind, copyPacket, withSequence] = [1, 2, 1];

const configAttributes = defineAttributes({
  command: { id: 1, kind: "u8" },
  /** struct nfulnl_msg_config_mode: range be32, mode u8, padding u8. */
  mode: { id: 2, kind: "bytes" },
  bufferLen: { id: 3, kind: "be32" },
  /** Hundredths of a second. */
  flushAfter: { id: 4, kind: "be32" },
  flushAt: { id: 5, kind: "be32" },
  flags: { id: 6, kind: "be16" },
});

export interface LogSettings {
  group: number;
  snapLenBytes: number;
  /** What the kernel gathers at most before it sends, and for how long. */
  bufferLenBytes: number;
  flushMs: number;
  flushPackets: number;
}

/** Requests that what is logged to that group be sent to the socket that asks, each packet with its number. */
export function listenRequest({ group, snapLenBytes, bufferLenBytes, flushMs, flushPackets }: LogSettings): Request {
  const mode = Buffer.alloc(6);
  mode.writeUInt32BE(snapLenBytes, 0);
  mode.writeUInt8(copyPacket, 4);
  return {
    type: logMessage.config,
    flags: messageFlag.ack,
    fill: (writer) => {
      const at = reserve(writer, familyHeaderLen);
      writer.bytes.writeUInt16BE(group, at + 2);
      encodeAttributes(writer, configAttributes, {
        command: bind,
        mode,
        bufferLen: bufferLenBytes,
        flushAfter: flushMs / 10,
        flushAt: flushPackets,
        flags: withSequence,
      });
    },
  };
}

const packetAttributes = defineAttributes({
  inLink: { id: 4, kind: "be32" },
  outLink: { id: 5, kind: "be32" },
  payload: { id: 9, kind: "bytes" },
  prefix: { id: 10, kind: "string" },
  sequence: { id: 12, kind: "be32" },
});

/** What one message tells. */
export interface ReadLogged {
  /** Counted by the kernel for each packet of the group, lost ones included; undefined where it cannot be read. */
  sequence: number | undefined;
  /** Undefined where it cannot be read. */
  packet: LoggedPacket | undefined;
}

/** Reads a message of type `packet`. Never throws: its content comes from anybody. */
export function readLogged({ body }: Pick<Message, "body">): ReadLogged {
  try {
    const values = decodeAttributes(packetAttributes, body.subarray(familyHeaderLen));
    return { sequence: values.sequence, packet: packetOf(values) };
  } catch {
    return { sequence: undefined, packet: undefined };
  }
}

const outcomes: ReadonlyMap<string, LoggedPacket["outcome"]> = new Map([
  [logPrefixes.deny, "denied"],
  [logPrefixes.audit, "audited"],
]);

function packetOf({
  inLink,
  outLink,
  payload,
  prefix = "",
}: AttributeValues<typeof packetAttributes>): LoggedPacket | undefined {
  const outcome = outcomes.get(prefix);
  const head = payload && readPacket(Buffer.from(payload.buffer, payload.byteOffset, payload.length));
  if (outcome === undefined || head === undefined) return undefined;
  return {
    what: "packet",
    outcome,
    ...(inLink === undefined ? {} : { inLink }),
    ...(outLink === undefined ? {} : { outLink }),
    head,
  };
}
