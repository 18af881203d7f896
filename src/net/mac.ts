// Ethernet addresses as canonical text.

import { assert } from "../base/assert.ts";
import { type Ip, ipFromBytes } from "./ip.ts";

/** Six pairs of lower-case hexadecimal digits with colons: "02:00:00:00:00:01". */
export type Mac = string & { readonly __mac: unique symbol };

/** Reads six colon-separated pairs of hexadecimal digits, upper or lower case. */
export function parseMac(text: string): Mac | undefined {
  if (text.length !== 17 || !/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return branded(text.toLowerCase());
}

/** False for multicast and broadcast addresses and for the one of all zeros: no interface can have those. */
export function isUnicastMac(mac: Mac): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== "00:00:00:00:00:00";
}

export function macBytes(mac: Mac): Uint8Array {
  return Uint8Array.from({ length: 6 }, (_, index) => Number.parseInt(mac.slice(index * 3, index * 3 + 2), 16));
}

/** The address of exactly six bytes. */
export function macFromBytes(bytes: Uint8Array): Mac {
  assert(bytes.length === 6, `an Ethernet address of 6 bytes, got ${bytes.length}`);
  return branded(Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":"));
}

/** A locally administered unicast address from the first six bytes of `seed`: 46 of their bits survive. */
export function localMac(seed: Uint8Array): Mac {
  assert(seed.length >= 6, `a seed of at least 6 bytes, got ${seed.length}`);
  const bytes = seed.slice(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return macFromBytes(bytes);
}

/** The IPv6 link-local address that the kernel derives from `mac` (modified EUI-64, RFC 4291 appendix A). */
export function linkLocalOf(mac: Mac): Ip {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = macBytes(mac);
  return ipFromBytes(Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f));
}

/** Marks text that this file has read or made as canonical. */
function branded(canonical: string): Mac {
  return canonical as Mac; // oxlint-disable-line typescript/no-unsafe-type-assertion -- the one place where the brand is given
}
