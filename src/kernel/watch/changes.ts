// What the kernel tells of a namespace, datagram by datagram, as changes: only what names the thing is read.

import { type KernelChange, nftablesThread, ownTables } from "../contract.ts";
import { addressMessage } from "../netlink/address.ts";
import { decodeAttributes, defineAttributes, malformed } from "../netlink/codec.ts";
import { familyOf } from "../netlink/family.ts";
import { linkMessage } from "../netlink/link.ts";
import { type Message, splitMessages } from "../netlink/message.ts";
import { neighbourMessage } from "../netlink/neighbour.ts";
import { decodeRoute, routeMessage } from "../netlink/route.ts";
import { ruleMessage } from "../netlink/rule.ts";
import { nftMessage } from "../nftables/constants.ts";
import { familyHeaderLen } from "../nftables/messages.ts";

/** Multicast groups (linux/rtnetlink.h): links, neighbours, IPv4 addresses, routes and rules, IPv6 addresses, routes and rules. */
export const routeGroups: readonly number[] = [1, 3, 5, 7, 8, 9, 11, 19];
/** NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h). */
export const nftablesGroups: readonly number[] = [7];

/** A bridge tells of its ports under this family: a port that leaves it is no link that goes. */
const familyBridge = 7;
/** Lengths of the structures before the attributes: struct ifinfomsg, ifaddrmsg, fib_rule_hdr, ndmsg. */
const headerLen = { link: 16, address: 8, rule: 12, neighbour: 12 } as const;
/** The state of entries that need no look-up, such as multicast. */
const stateNoArp = 0x40;

/** NFNL_SUBSYS_NFTABLES; NFTA_TABLE_NAME and its likes. */
const [nftablesSubsystem, tableNameId, nameAt] = [10, 1, 4];
const own: readonly string[] = Object.values(ownTables);

const addressAttributes = defineAttributes({ address: { id: 1, kind: "ip" }, local: { id: 2, kind: "ip" } });
const ruleAttributes = defineAttributes({ priority: { id: 6, kind: "u32" } });
const neighbourAttributes = defineAttributes({ address: { id: 1, kind: "ip" } });
const generationAttributes = defineAttributes({ program: { id: 3, kind: "string" } });

/** Tables of ours that the changes of nftables so far were about: the kernel tells the generation last, maybe in another datagram. */
export type Touched = Set<string>;

/** The changes that a datagram tells of, in order; "lost" in the place of what cannot be read. Never throws. */
export function readChanges(datagram: Buffer, touched: Touched = new Set()): KernelChange[] {
  try {
    return splitMessages(datagram).flatMap((message) => readMessage(message, touched));
  } catch {
    return [{ what: "lost" }];
  }
}

function readMessage(message: Message, touched: Touched): KernelChange[] {
  try {
    const change = changeOf(message, touched);
    return change === undefined ? [] : [change];
  } catch {
    return [{ what: "lost" }];
  }
}

/** Undefined for what no KernelChange tells: other families, entries that no list gives, what came before an nftables generation. */
function changeOf({ type, body }: Message, touched: Touched): KernelChange | undefined {
  switch (type) {
    case linkMessage.new:
    case linkMessage.delete:
      return linkChange(body, type === linkMessage.delete);
    case addressMessage.new:
    case addressMessage.delete:
      return addressChange(body, type === addressMessage.delete);
    case routeMessage.new:
    case routeMessage.delete:
      return routeChange(body, type === routeMessage.delete);
    case ruleMessage.new:
    case ruleMessage.delete:
      return ruleChange(body, type === ruleMessage.delete);
    case neighbourMessage.new:
    case neighbourMessage.delete:
      return neighbourChange(body, type === neighbourMessage.delete);
    case nftMessage.newGeneration: {
      const { program = "" } = decodeAttributes(generationAttributes, after(body, familyHeaderLen, "a generation"));
      const tables = own.filter((name) => touched.has(name));
      touched.clear();
      return program === nftablesThread ? { what: "nftables", by: program } : { what: "nftables", by: program, tables };
    }
    default:
      if (type >> 8 === nftablesSubsystem) touch(body, touched);
      return undefined;
  }
}

/** Tables, chains, rules, sets, elements and objects all begin with the name of their table. */
function touch(body: Buffer, touched: Touched): void {
  const attributes = after(body, familyHeaderLen, "a change of nftables");
  if (attributes.length < nameAt || attributes.readUInt16LE(2) !== tableNameId) throw malformed("a change of no table");
  const name = attributes.toString("latin1", nameAt, attributes.readUInt16LE(0)).replace(/\0+$/, "");
  if (own.includes(name)) touched.add(name);
}

function linkChange(body: Buffer, deleted: boolean): KernelChange {
  after(body, headerLen.link, "a link");
  return { what: "link", index: body.readInt32LE(4), removed: deleted && body.readUInt8(0) !== familyBridge };
}

function addressChange(body: Buffer, removed: boolean): KernelChange | undefined {
  const attributes = after(body, headerLen.address, "an address");
  if (familyOf(body.readUInt8(0)) === undefined) return undefined;
  const values = decodeAttributes(addressAttributes, attributes);
  // On a point-to-point link "address" is the other side's.
  const address = values.local ?? values.address;
  if (address === undefined) throw malformed("an address without an address");
  return { what: "address", link: body.readUInt32LE(4), address, removed };
}

function routeChange(body: Buffer, removed: boolean): KernelChange | undefined {
  const route = decodeRoute(body);
  if (route === undefined) return undefined;
  const { to, link, table, protocol } = route;
  return {
    what: "route",
    to,
    ...(link === undefined ? {} : { link }),
    ...(table === undefined ? {} : { table }),
    ...(protocol === undefined ? {} : { protocol }),
    removed,
  };
}

function ruleChange(body: Buffer, removed: boolean): KernelChange | undefined {
  const attributes = after(body, headerLen.rule, "a rule");
  const family = familyOf(body.readUInt8(0));
  if (family === undefined) return undefined;
  return { what: "rule", family, priority: decodeAttributes(ruleAttributes, attributes).priority ?? 0, removed };
}

function neighbourChange(body: Buffer, removed: boolean): KernelChange | undefined {
  const attributes = after(body, headerLen.neighbour, "a neighbour");
  const state = body.readUInt16LE(8);
  if (familyOf(body.readUInt8(0)) === undefined || state === stateNoArp || (state === 0 && !removed)) return undefined;
  const { address } = decodeAttributes(neighbourAttributes, attributes);
  if (address === undefined) throw malformed("a neighbour without an address");
  return { what: "neighbour", link: body.readInt32LE(4), address, removed };
}

function after(body: Buffer, headerLen: number, what: string): Buffer {
  if (body.length < headerLen) throw malformed(`${what} of ${body.length} bytes`);
  return body.subarray(headerLen);
}
