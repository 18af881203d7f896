// Which addresses of a block may be given to pods: pure arithmetic over one CIDR.

import { type Cidr, addressAt, cidrContains, cidrFamily, cidrPrefix, cidrSize, offsetOf } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";

/** Offsets of the first and last usable address, both included, and their number. */
export interface Usable {
  first: bigint;
  last: bigint;
  count: bigint;
}

/** Blocks of at least this many addresses have one for a gateway. */
const gatewaySizeMin = 8n;

/**
 * The address of a block that no pod gets: the first after the network's own. Plugins that make a bridge for their pods, with
 * addresses from Fairlead, take it as the bridge's. Undefined for blocks too small to spare one.
 */
export function gatewayOf(block: Cidr): Ip | undefined {
  return cidrSize(block) < gatewaySizeMin ? undefined : addressAt(block, 1n);
}

/**
 * IPv4 leaves out the network and broadcast address of blocks wider than /31 (hosts and cloud routers treat them specially);
 * IPv6 leaves out the subnet-router anycast address (RFC 4291, 2.6.1) of blocks wider than /127. Both leave out the gateway.
 */
export function usableAddresses(block: Cidr): Usable {
  const size = cidrSize(block);
  const v4 = cidrFamily(block) === 4;
  const wide = cidrPrefix(block) < (v4 ? 31 : 127);
  const first = size >= gatewaySizeMin ? 2n : wide ? 1n : 0n;
  const last = wide && v4 ? size - 2n : size - 1n;
  return { first, last, count: last - first + 1n };
}

/** The few addresses of a block that no pod gets. */
export function unusableOf(block: Cidr): Ip[] {
  const { first, last } = usableAddresses(block);
  const unusable: Ip[] = [];
  for (let offset = 0n; offset < first; offset += 1n) unusable.push(addressAt(block, offset));
  for (let offset = last + 1n; offset < cidrSize(block); offset += 1n) unusable.push(addressAt(block, offset));
  return unusable;
}

/** True where `address` may be given to a pod from `block`. */
export function isUsable(block: Cidr, address: Ip): boolean {
  if (!cidrContains(block, address)) return false;
  const { first, last } = usableAddresses(block);
  const offset = offsetOf(block, address);
  return offset >= first && offset <= last;
}

/** The usable address after `offset`, wrapping to the first: where a search goes next. */
export function nextOffset(block: Cidr, offset: bigint): bigint {
  const { first, last } = usableAddresses(block);
  return offset >= last || offset < first ? first : offset + 1n;
}

/** The address at a usable offset. */
export function usableAt(block: Cidr, offset: bigint): Ip {
  return addressAt(block, offset);
}
