// Addresses of links on the wire.

import { Fault } from "../../base/fault.ts";
import { addressBits, ipBytes, ipFamily, isLinkLocal } from "../../net/ip.ts";
import type { Address, Op } from "../contract.ts";
import { decodeAttributes, defineAttributes, encodeAttributes, malformed, reserve } from "./codec.ts";
import { familyNumber, familyOf } from "./family.ts";
import { linkIndex } from "./link.ts";
import { type Request, goneErrnos, messageFlag } from "./message.ts";

/** Message types (linux/rtnetlink.h). */
export const addressMessage = { new: 20, delete: 21, get: 22 } as const;

/** struct ifaddrmsg: family, prefix length, flags u8, scope, index u32. */
const headerLen = 8;

const flag = { noDad: 0x02, dadFailed: 0x08, tentative: 0x40, noPrefixRoute: 0x200 } as const;

const scopeNumber = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const;
const scopeNames = new Map<number, Address["scope"]>([
  [scopeNumber.global, "global"],
  [scopeNumber.site, "site"],
  [scopeNumber.link, "link"],
  [scopeNumber.host, "host"],
]);

const attributes = defineAttributes({
  address: { id: 1, kind: "ip" },
  local: { id: 2, kind: "ip" },
  flags: { id: 8, kind: "u32" },
});

type AddressOp = Op & { op: "address.add" | "address.remove" };

/** Requests that the address be added or removed. */
export function addressRequest(op: AddressOp): Request {
  const { address, prefix } = op;
  const adding = op.op === "address.add";
  const family = ipFamily(address);
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > addressBits(family)) {
    throw new Fault("kernel-refused", `${prefix} is no prefix length for ${address}`);
  }
  return {
    type: adding ? addressMessage.new : addressMessage.delete,
    flags: adding ? messageFlag.ack | messageFlag.create | messageFlag.exclusive : messageFlag.ack,
    ...(adding ? {} : { tolerate: goneErrnos }),
    fill: (writer) => {
      const at = reserve(writer, headerLen);
      writer.bytes.writeUInt8(familyNumber(family), at);
      writer.bytes.writeUInt8(prefix, at + 1);
      writer.bytes.writeUInt8(adding ? scopeFor(op) : 0, at + 3);
      writer.bytes.writeUInt32LE(linkIndex(op.link), at + 4);
      const flags = flag.noPrefixRoute | (family === 6 ? flag.noDad : 0);
      encodeAttributes(writer, attributes, { local: address, flags: adding ? flags : undefined, address });
    },
  };
}

/** The kernel derives the scope of an IPv6 address itself; for IPv4 it believes us. */
function scopeFor({ address }: AddressOp): number {
  if (ipFamily(address) === 6) return scopeNumber.global;
  if (ipBytes(address)[0] === 127) return scopeNumber.host;
  return isLinkLocal(address) ? scopeNumber.link : scopeNumber.global;
}

/** Requests every address of the namespace. */
export function dumpAddressesRequest(): Request {
  return { type: addressMessage.get, flags: messageFlag.dump, fill: (writer) => reserve(writer, headerLen) };
}

/** Reads the body of an RTM_NEWADDR; undefined for families other than IP. */
export function decodeAddress(body: Buffer): Address | undefined {
  if (body.length < headerLen) throw malformed(`an address of ${body.length} bytes`);
  if (familyOf(body.readUInt8(0)) === undefined) return undefined;
  const values = decodeAttributes(attributes, body.subarray(headerLen));
  // On a point-to-point link "address" is the other side's.
  const address = values.local ?? values.address;
  if (address === undefined) return undefined;
  return {
    link: body.readUInt32LE(4),
    address,
    prefix: body.readUInt8(1),
    scope: scopeNames.get(body.readUInt8(3)) ?? "nowhere",
    tentative: ((values.flags ?? body.readUInt8(2)) & (flag.tentative | flag.dadFailed)) !== 0,
  };
}
