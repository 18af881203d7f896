// Whether one of certain addresses has part in an entry: read from its bytes, since most entries of a table are somebody else's.

import { type Ip, ipBytes } from "../../net/ip.ts";
import { eachAttribute, malformed } from "../netlink/codec.ts";
import { headerLen, tupleAddressesId, tupleId } from "./messages.ts";

/** An IPv4 address, and what of an IPv6 address an address is looked up by. */
const tailLen = 4;

/**
 * Gives a function that says whether one of `addresses` is source or destination of either direction of the entry whose message
 * body it is handed. It takes some 0.2 us. That function throws Fault "kernel-refused" where the bytes make no sense.
 */
export function createMatcher(addresses: readonly Ip[]): (body: Buffer) => boolean {
  const byTail = new Map<number, Uint8Array[]>();
  for (const address of addresses) {
    const bytes = ipBytes(address);
    const key = Buffer.from(bytes).readInt32LE(bytes.length - tailLen);
    byTail.set(key, [...(byTail.get(key) ?? []), bytes]);
  }

  let body: Buffer = Buffer.alloc(0);
  let found = false;

  function visitAddress(_id: number, at: number, end: number): void {
    if (end - at < tailLen) throw malformed(`an address of ${end - at} bytes`);
    const candidates = byTail.get(body.readInt32LE(end - tailLen));
    found ||= candidates?.some((bytes) => body.compare(bytes, 0, bytes.length, at, end) === 0) ?? false;
  }
  function visitTuple(id: number, at: number, end: number): void {
    if (id === tupleAddressesId) eachAttribute(body, at, end, visitAddress);
  }
  function visitEntry(id: number, at: number, end: number): void {
    if (id === tupleId.original || id === tupleId.reply) eachAttribute(body, at, end, visitTuple);
  }

  return (bytes) => {
    body = bytes;
    found = false;
    eachAttribute(body, Math.min(headerLen, body.length), body.length, visitEntry);
    return found;
  };
}
