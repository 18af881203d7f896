// Connection tracking entries for tests of the real kernel, put into a namespace by bytes made here: the product's own codec is not believed.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { type Descriptor, loadAddon } from "../src/kernel/addon.ts";
import type { Connection, ConnectionTuple } from "../src/kernel/contract.ts";
import { type Ip, ipBytes } from "../src/net/ip.ts";
import { ack, answers, attribute, create, excl, message, netfilter, request } from "./netlink-bytes.ts";

// Numbers of linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h.
const newEntry = 0x100;
const nested = 0x8000;
const [tupleOriginal, tupleReply, status, protocolInfo, timeout, zone] = [1, 2, 3, 4, 7, 18];
const [seenReply, assured, confirmed] = [2, 4, 8];
const icmp6Protocol = 58;
const tcpStates =
  "none syn-sent syn-received established fin-wait close-wait last-ack time-wait closed syn-sent-twice".split(" ");

/** Longer than any test. */
const lifetimeSeconds = 600;
/** Messages of one send; only the last asks for an answer, but refusals come unasked. */
const batchMax = 500;

const be16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const be32 = (value: number): Buffer => Buffer.concat([be16(value >>> 16), be16(value & 0xffff)]);
const nest = (type: number, ...parts: Buffer[]): Buffer => attribute(type | nested, Buffer.concat(parts));
const isV6 = (ip: Ip): boolean => ip.includes(":");

function tuple(type: number, protocol: number, values: ConnectionTuple): Buffer {
  const { source, destination, sourcePort, destinationPort, icmp } = values;
  const first = isV6(source) ? 3 : 1;
  const icmpFirst = protocol === icmp6Protocol ? 7 : 4;
  return nest(
    type,
    nest(1, attribute(first, Buffer.from(ipBytes(source))), attribute(first + 1, Buffer.from(ipBytes(destination)))),
    nest(
      2,
      attribute(1, Buffer.from([protocol])),
      ...(sourcePort === undefined ? [] : [attribute(2, be16(sourcePort))]),
      ...(destinationPort === undefined ? [] : [attribute(3, be16(destinationPort))]),
      ...(icmp === undefined
        ? []
        : [
            attribute(icmpFirst, be16(icmp.id)),
            attribute(icmpFirst + 1, Buffer.from([icmp.type])),
            attribute(icmpFirst + 2, Buffer.from([icmp.code])),
          ]),
    ),
  );
}

function entryMessage(connection: Connection, inZone: number | undefined, flags: number, seq: number): Buffer {
  const { protocol, original, reply, replied, assured: isAssured, tcpState } = connection;
  const header = Buffer.from([isV6(original.source) ? 10 : 2, 0, 0, 0]);
  const states = confirmed | (replied ? seenReply : 0) | (isAssured ? assured : 0);
  const body = [
    header,
    tuple(tupleOriginal, protocol, original),
    tuple(tupleReply, protocol, reply),
    attribute(timeout, be32(lifetimeSeconds)),
    attribute(status, be32(states)),
    ...(tcpState === undefined
      ? []
      : [nest(protocolInfo, nest(1, attribute(1, Buffer.from([tcpStates.indexOf(tcpState)]))))]),
    ...(inZone === undefined ? [] : [attribute(zone, be16(inZone))]),
  ];
  return message(newEntry, request | create | excl | flags, seq, Buffer.concat(body));
}

/** Puts entries into the namespace at `path`, all into one zone. @throws where the kernel refuses one */
export type Track = (connections: Iterable<Connection>, zone?: number) => Promise<void>;

/** Gives what tracks connections in the namespace at `path` until `t` ends. */
export function openTracker(t: Pick<TestContext, "after">, path: string): Track {
  const addon = loadAddon();
  const open = (): Descriptor => {
    const netns = addon.openNetns(path);
    const socket = addon.openNetlink(netns, netfilter);
    addon.close(netns);
    t.after(() => addon.close(socket));
    return socket;
  };
  let opened: Descriptor | undefined;
  return async (connections, zone) => {
    opened ??= open();
    const socket = opened;
    const all = [...connections];
    for (let at = 0; at < all.length; at += batchMax) {
      const batch = all.slice(at, at + batchMax);
      const bytes = batch.map((connection, n) =>
        entryMessage(connection, zone, n === batch.length - 1 ? ack : 0, n + 1),
      );
      const said = answers(await addon.call(1, socket, Buffer.concat(bytes), 10_000));
      assert.deepEqual(
        said.map(({ code }) => code),
        [0],
        "the kernel takes each entry",
      );
    }
  };
}

/** A connection whose answers come as its packets went, unless `reply` says otherwise. */
export function connection(
  protocol: number,
  original: ConnectionTuple,
  { reply, ...rest }: Partial<Omit<Connection, "reply">> & { reply?: Partial<ConnectionTuple> } = {},
): Connection {
  const { source, destination, sourcePort, destinationPort, icmp } = original;
  const answers: Record<number, number> = { 8: 0, 128: 129 };
  return {
    protocol,
    original,
    reply: {
      source: destination,
      destination: source,
      ...(destinationPort === undefined ? {} : { sourcePort: destinationPort }),
      ...(sourcePort === undefined ? {} : { destinationPort: sourcePort }),
      ...(icmp === undefined ? {} : { icmp: { ...icmp, type: answers[icmp.type] ?? icmp.type } }),
      ...reply,
    },
    replied: false,
    assured: false,
    ...(protocol === 6 ? { tcpState: "established" } : {}),
    ...rest,
  };
}
