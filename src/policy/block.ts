// Networks in rules, read as leniently as the API server admits them, and cut as exactly as the kernel will.

import { type Cidr, cidrBase, cidrContains, cidrOf, cidrPrefix, parseInterfaceAddress } from "../net/cidr.ts";
import type { Ip } from "../net/ip.ts";
import { cidrCure } from "../net/schema.ts";
import type { Peer } from "./model.ts";
import type { Report } from "./problem.ts";

/** A network with exceptions, as a peer of a rule. */
export type Block = Extract<Peer, { block: Cidr }>;

/** IPv6 text of the IPv4-mapped block, whose networks the API server takes for those of IPv4. */
const mapped = /^::ffff:([0-9.]+)\/([0-9]{1,4})$/i;
/** Bits of an IPv6 address before the IPv4 address that is mapped into it. */
const mappedBits = 96;

/**
 * Reads a network as validation of `ipBlock` does (apimachinery, ParseCIDRSloppy): host bits may be set and are masked away; octets
 * and prefix length may have leading zeros and are decimal; ::ffff:10.0.0.0/104 is 10.0.0.0/8.
 */
export function readCidr(text: string): Cidr | undefined {
  const ofMapped = mapped.exec(text);
  const prefix = Number(ofMapped?.[2]);
  if (ofMapped !== null && prefix >= mappedBits) return readCidr(`${ofMapped[1]}/${prefix - mappedBits}`);
  const slash = text.indexOf("/");
  const address = text.slice(0, Math.max(slash, 0));
  const octets = address.includes(":") ? address : address.replace(/(?<![0-9])0+(?=[0-9])/g, "");
  const read = parseInterfaceAddress(`${octets}${text.slice(slash).replace(/^\/0+(?=[0-9])/, "/")}`);
  return read === undefined ? undefined : cidrOf(read.address, read.prefix);
}

const liesIn = (inner: Cidr, outer: Cidr): boolean =>
  cidrPrefix(inner) >= cidrPrefix(outer) && cidrContains(outer, cidrBase(inner));

/** Reads a block; undefined where it, or one of its exceptions, cannot be read: without the exception it would allow too much. */
export function readBlock(
  { cidr, except = [] }: { cidr: string; except?: readonly string[] },
  path: string,
  report: Report,
): Block | undefined {
  const read = (text: string, where: string): Cidr | undefined => {
    const network = readCidr(text);
    if (network === undefined) {
      report(
        `${path}.${where}`,
        `${JSON.stringify(text)} is not a network; the peer allows nothing; ${cidrCure(text)}`,
      );
    }
    return network;
  };
  const block = read(cidr, "cidr");
  const cut = except.map((text, index) => read(text, `except[${index}]`));
  const known = cut.filter((network) => network !== undefined);
  cut.forEach((network, index) => {
    if (block === undefined || network === undefined || liesIn(network, block)) return;
    report(`${path}.except[${index}]`, `${network} does not lie within ${block}; cut out of it what does`);
  });
  return block === undefined || known.length < cut.length ? undefined : { block, except: known };
}

/** True for an address that lies in the block and in none of its exceptions. */
export function blockHolds({ block, except }: Block, ip: Ip): boolean {
  return cidrContains(block, ip) && !except.some((network) => cidrContains(network, ip));
}
