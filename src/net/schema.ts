// Addresses and networks as fields of files and objects: text in, the canonical value out, or what is wrong with the text and what to write.

import { z } from "zod";
import { type Cidr, cidrOf, hostCidr, parseCidr, parseInterfaceAddress } from "./cidr.ts";
import { addressBits, type Ip, ipFamily, ipTextLengthMax, parseIp } from "./ip.ts";
import { type Mac, parseMac } from "./mac.ts";

/** For `transform`, where a field has bounds of its own. */
export function toIp(text: string, context: z.RefinementCtx): Ip {
  const parsed = parseIp(text);
  if (parsed !== undefined) return parsed;
  context.addIssue(`${JSON.stringify(text)} is not an IP address such as 10.4.1.2 or fd00:4:1::2`);
  return z.NEVER;
}

/** For `transform`, where a field has bounds of its own. Bits set after the prefix are refused: they may stand for a wrong prefix. */
export function toCidr(text: string, context: z.RefinementCtx): Cidr {
  const parsed = parseCidr(text);
  if (parsed !== undefined) return parsed;
  context.addIssue(notCidr(text));
  return z.NEVER;
}

/** What is wrong with text that is no network, and what to write. */
export function notCidr(text: string): string {
  const near = parseInterfaceAddress(text);
  return near === undefined
    ? `${JSON.stringify(text)} is not a network; ${cidrCure(text)}`
    : `"${text}" has bits set after its prefix; the network around it is ${cidrOf(near.address, near.prefix)}`;
}

/** What to write for text that is no network. Never a wider one than may have been meant. */
export function cidrCure(text: string): string {
  const [address = "", prefix] = text.split("/", 2);
  const ip = parseIp(address);
  if (ip === undefined) return "write one such as 10.4.1.0/24 or fd00:4:1::/64";
  const bits = addressBits(ipFamily(ip));
  return prefix === undefined ? `write ${hostCidr(ip)}` : `the prefix of IPv${ipFamily(ip)} is 0 to ${bits}`;
}

const text = z.string().max(ipTextLengthMax);

/** An IP address. */
export const ip = text.transform(toIp);

/** A network with no bits set after its prefix. */
export const cidr = text.transform(toCidr);

/** An Ethernet address. */
export const mac = text.transform((given, context): Mac => {
  const parsed = parseMac(given);
  if (parsed !== undefined) return parsed;
  context.addIssue(`${JSON.stringify(given)} is not an Ethernet address such as 02:00:00:00:00:01`);
  return z.NEVER;
});
