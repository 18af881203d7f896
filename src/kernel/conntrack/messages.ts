// Entries of connection tracking on the wire: asking for the table, reading an entry, deleting one.

import type { Connection, ConnectionTuple, TcpState } from "../contract.ts";
import {
  type AttributeValues,
  decodeAttributes,
  defineAttributes,
  encodeAttributes,
  malformed,
  reserve,
  writeNest,
} from "../netlink/codec.ts";
import { familyNumber } from "../netlink/family.ts";
import { type Request, messageFlag } from "../netlink/message.ts";

/** Message types: NFNL_SUBSYS_CTNETLINK above IPCTNL_MSG_CT_* (linux/netfilter/nfnetlink_conntrack.h). */
export const conntrackMessage = { new: 0x100, get: 0x101, delete: 0x102 } as const;

/** struct nfgenmsg: family, version u8, resource be16. */
export const headerLen = 4;

/** CTA_TUPLE_ORIG and CTA_TUPLE_REPLY, and CTA_TUPLE_IP in them: all of its attributes are addresses. */
export const tupleId = { original: 1, reply: 2 } as const;
export const tupleAddressesId = 1;

const addressAttributes = defineAttributes({
  source4: { id: 1, kind: "ip" },
  destination4: { id: 2, kind: "ip" },
  source6: { id: 3, kind: "ip" },
  destination6: { id: 4, kind: "ip" },
});
const protocolAttributes = defineAttributes({
  number: { id: 1, kind: "u8" },
  sourcePort: { id: 2, kind: "be16" },
  destinationPort: { id: 3, kind: "be16" },
  icmpId: { id: 4, kind: "be16" },
  icmpType: { id: 5, kind: "u8" },
  icmpCode: { id: 6, kind: "u8" },
  icmp6Id: { id: 7, kind: "be16" },
  icmp6Type: { id: 8, kind: "u8" },
  icmp6Code: { id: 9, kind: "u8" },
});
const tupleAttributes = defineAttributes({
  addresses: { id: tupleAddressesId, kind: "nested", of: addressAttributes },
  protocol: { id: 2, kind: "nested", of: protocolAttributes },
});
const tcpAttributes = defineAttributes({ state: { id: 1, kind: "u8" } });
const protocolInfoAttributes = defineAttributes({ tcp: { id: 1, kind: "nested", of: tcpAttributes } });
const entryAttributes = defineAttributes({
  original: { id: tupleId.original, kind: "nested", of: tupleAttributes },
  reply: { id: tupleId.reply, kind: "nested", of: tupleAttributes },
  status: { id: 3, kind: "be32" },
  protocolInfo: { id: 4, kind: "nested", of: protocolInfoAttributes },
});

/** What tells an entry from every other one. The tuple stays as it is: it can hold more than we have words for, such as a zone. */
const keyAttributes = defineAttributes({
  original: { id: tupleId.original, kind: "bytes" },
  id: { id: 12, kind: "be32" },
  zone: { id: 18, kind: "be16" },
});

/** IPS_* flags. */
const status = { seenReply: 0x2, assured: 0x4 } as const;

/** TCP_CONNTRACK_*, in their order. */
const tcpStates: readonly TcpState[] = [
  "none",
  "syn-sent",
  "syn-received",
  "established",
  "fin-wait",
  "close-wait",
  "last-ack",
  "time-wait",
  "closed",
  "syn-sent-twice",
];

/**
 * Requests the entries of a family, or all. Nothing narrower: the kernel's own filter (CTA_FILTER) takes one address in one place,
 * and for IPv6 gives the entries that do not match.
 */
export function dumpConnectionsRequest(family?: 4 | 6): Request {
  return {
    type: conntrackMessage.get,
    flags: messageFlag.dump,
    fill: (writer) => {
      const at = reserve(writer, headerLen);
      writer.bytes.writeUInt8(family === undefined ? 0 : familyNumber(family), at);
    },
  };
}

/**
 * Requests the deletion of the entry that `body` tells of, the body of a message as the kernel sent it. By its id too, so that
 * another entry that has taken its place stays.
 */
export function deleteConnectionRequest(body: Buffer): Request {
  const { original, id, zone } = decodeAttributes(keyAttributes, tail(body));
  if (original === undefined || id === undefined) throw malformed("a tracked connection without tuple or id");
  return {
    type: conntrackMessage.delete,
    flags: messageFlag.ack,
    fill: (writer) => {
      const at = reserve(writer, headerLen);
      writer.bytes.writeUInt8(body.readUInt8(0), at);
      writeNest(writer, tupleId.original, () => {
        const tupleAt = reserve(writer, original.length);
        writer.bytes.set(original, tupleAt);
      });
      encodeAttributes(writer, keyAttributes, { id, zone });
    },
  };
}

/** The kernel's number of an entry, for as long as it lives. */
export function connectionId(body: Buffer): number {
  return decodeAttributes(keyAttributes, tail(body)).id ?? 0;
}

/** Reads the body of a message that tells of an entry. */
export function decodeConnection(body: Buffer): Connection {
  const values = decodeAttributes(entryAttributes, tail(body));
  const flags = values.status ?? 0;
  const state = tcpStates[values.protocolInfo?.tcp?.state ?? -1];
  return {
    protocol: values.original?.protocol?.number ?? 0,
    original: tupleOf(values.original),
    reply: tupleOf(values.reply),
    replied: (flags & status.seenReply) !== 0,
    assured: (flags & status.assured) !== 0,
    ...(state === undefined ? {} : { tcpState: state }),
  };
}

function tail(body: Buffer): Buffer {
  if (body.length < headerLen) throw malformed(`a tracked connection of ${body.length} bytes`);
  return body.subarray(headerLen);
}

function tupleOf(values: AttributeValues<typeof tupleAttributes> | undefined): ConnectionTuple {
  const { source4, destination4, source6, destination6 } = values?.addresses ?? {};
  const [source, destination] = [source4 ?? source6, destination4 ?? destination6];
  if (source === undefined || destination === undefined) throw malformed("a tracked connection without addresses");
  const protocol = values?.protocol ?? {};
  const { sourcePort, destinationPort } = protocol;
  const id = protocol.icmpId ?? protocol.icmp6Id;
  const type = protocol.icmpType ?? protocol.icmp6Type ?? 0;
  const code = protocol.icmpCode ?? protocol.icmp6Code ?? 0;
  return {
    source,
    destination,
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(destinationPort === undefined ? {} : { destinationPort }),
    ...(id === undefined ? {} : { icmp: { id, type, code } }),
  };
}
