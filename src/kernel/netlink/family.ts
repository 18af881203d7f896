// Address families, networks and table numbers as rtnetlink writes them: partly in a header, partly as attributes.

import { type Cidr, cidrBase, cidrOf, cidrPrefix } from "../../net/cidr.ts";
import { type Ip, ipFromBytes } from "../../net/ip.ts";

const inet = 2;
const inet6 = 10;

export function familyNumber(family: 4 | 6): number {
  return family === 4 ? inet : inet6;
}

/** Undefined for a family that is neither, such as MPLS or a multicast routing table. */
export function familyOf(number: number): 4 | 6 | undefined {
  if (number === inet) return 4;
  return number === inet6 ? 6 : undefined;
}

/** The attribute of a network, whose length stands in the header: absent for the whole address space. */
export function networkAttribute(cidr: Cidr | undefined): Ip | undefined {
  return cidr === undefined || cidrPrefix(cidr) === 0 ? undefined : cidrBase(cidr);
}

/** The network of an attribute and the length in the header. */
export function networkOf(family: 4 | 6, address: Ip | undefined, prefix: number): Cidr {
  return cidrOf(address ?? ipFromBytes(new Uint8Array(family === 4 ? 4 : 16)), prefix);
}

/** The header has one byte for a table; greater numbers are an attribute beside a 0. */
export function splitTable(table: number): { header: number; attribute: number | undefined } {
  return table < 256 ? { header: table, attribute: undefined } : { header: 0, attribute: table };
}
