// The fake kernel's addresses and neighbours.

import { cidrOf } from "../net/cidr.ts";
import { type Ip, ipBytes, ipFamily, isLinkLocal } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";
import type { Address, Neighbour } from "./contract.ts";
import { dropRoutesOf, dropSource } from "./fake-routes.ts";
import {
  type FakeAddress,
  type FakeLink,
  type FakeNamespace,
  type Refusal,
  hasIpv6,
  inheritSettings,
  ipv6Disabled,
  loopbackIndex,
  refusal,
} from "./fake-world.ts";

/** Adds an address that is usable at once. `own`: the kernel does it by itself. */
export function addAddress(
  namespace: FakeNamespace,
  link: FakeLink,
  address: Ip,
  prefix: number,
  own = false,
): Refusal {
  const held = namespace.addresses.filter((other) => other.link === link.index && other.address === address);
  if (ipFamily(address) === 4) {
    if (held.some((other) => other.prefix === prefix)) return refusal("EEXIST", "ipv4: Address already assigned");
    if (!link.settled) settle(namespace, link);
  } else {
    const refused = refuse6(link, address);
    if (refused !== undefined) return refused;
    if (held.length > 0) return refusal("EEXIST", "ipv6: address already assigned");
    link.multicast ||= link.up;
  }
  namespace.addresses.push({ link: link.index, address, prefix, scope: scopeOf(address, own), tentative: false, own });
  return undefined;
}

function settle(namespace: FakeNamespace, link: FakeLink): void {
  link.settled = true;
  inheritSettings(namespace, link.settings, "ipv4");
}

function refuse6(link: FakeLink, address: Ip): Refusal {
  const bytes = ipBytes(address);
  if (!hasIpv6(link)) return refusal("EINVAL");
  if (bytes[0] === 0xff) return refusal("EADDRNOTAVAIL", "ipv6: Cannot assign multicast address");
  if (address === "::") return refusal("EADDRNOTAVAIL", "ipv6: Invalid address");
  if (address === "::1" && link.index !== loopbackIndex) {
    return refusal("EADDRNOTAVAIL", "ipv6: Cannot assign loopback address on this device");
  }
  return ipv6Disabled(link) ? refusal("EACCES", "ipv6: IPv6 is disabled on this device") : undefined;
}

function scopeOf(address: Ip, own: boolean): Address["scope"] {
  if (isLinkLocal(address)) return "link";
  if (address === "::1" || (ipFamily(address) === 4 && ipBytes(address)[0] === 127)) return "host";
  return own ? "host" : "global";
}

/** Removes an address, and with the first IPv4 address of a subnet the others of it, as the kernel does. */
export function removeAddress(namespace: FakeNamespace, link: FakeLink, address: Ip, prefix: number): Refusal {
  if (ipFamily(address) === 6 && !hasIpv6(link)) return refusal("ENXIO", "ipv6: IPv6 is disabled on this device");
  const gone = namespace.addresses.find(
    (held) => held.link === link.index && held.address === address && held.prefix === prefix,
  );
  if (gone === undefined) return refusal("EADDRNOTAVAIL");
  const promote = namespace.settings.get("ipv4/conf/all/promote_secondaries") === "1";
  const isFirst = subnetOf(namespace, gone)[0] === gone;
  dropAddresses(namespace, ipFamily(address) === 4 && isFirst && !promote ? subnetOf(namespace, gone) : [gone]);
  if (ipFamily(address) === 4 && !hasAddress4(namespace, link)) {
    // With its last IPv4 address a link loses what it was used for in IPv4, though the same can be there without any address.
    dropRoutesOf(namespace, link, "no IPv4");
    dropNeighboursOf(namespace, link, "IPv4");
  }
  return undefined;
}

function hasAddress4({ addresses }: FakeNamespace, { index }: FakeLink): boolean {
  return addresses.some(({ link, address }) => link === index && ipFamily(address) === 4);
}

function subnetOf(namespace: FakeNamespace, { link, address, prefix }: FakeAddress): FakeAddress[] {
  const subnet = cidrOf(address, prefix);
  return namespace.addresses.filter((held) => held.link === link && cidrOf(held.address, held.prefix) === subnet);
}

function dropAddresses(namespace: FakeNamespace, gone: readonly FakeAddress[]): void {
  namespace.addresses = namespace.addresses.filter((held) => !gone.includes(held));
  for (const { address } of gone) dropSource(namespace, address);
}

/** Ends the link's addresses: all, or those of IPv6, which do not outlive a link that goes down. IPv6 routes of other links keep such a source. */
export function dropAddressesOf(namespace: FakeNamespace, { index }: FakeLink, which: "all" | "IPv6"): void {
  const ofLink = namespace.addresses.filter(({ link }) => link === index);
  if (which === "all")
    dropAddresses(
      namespace,
      ofLink.filter(({ address }) => ipFamily(address) === 4),
    );
  namespace.addresses = namespace.addresses.filter(({ link, address }) => link !== index || ipFamily(address) === 4);
}

/** Every address: the IPv4 ones first, link by link, as they are read. */
export function allAddresses({ addresses }: FakeNamespace): Address[] {
  return addresses
    .toSorted((a, b) => ipFamily(a.address) - ipFamily(b.address) || a.link - b.link)
    .map(({ link, address, prefix, scope, tentative }) => ({ link, address, prefix, scope, tentative }));
}

/** Sets a permanent neighbour. */
export function setNeighbour(namespace: FakeNamespace, link: FakeLink, address: Ip, mac: Mac): Refusal {
  if (ipFamily(address) === 6 && ipv6Disabled(link)) return refusal("EINVAL", "IPv6 is disabled on this device");
  const held = namespace.neighbours.find((other) => other.link === link.index && other.address === address);
  if (held === undefined) namespace.neighbours.push({ link: link.index, address, mac, permanent: true });
  else held.mac = mac;
  return undefined;
}

export function removeNeighbour(namespace: FakeNamespace, link: FakeLink, address: Ip): Refusal {
  const at = namespace.neighbours.findIndex((held) => held.link === link.index && held.address === address);
  if (at < 0) return refusal("ENOENT");
  namespace.neighbours.splice(at, 1);
  return undefined;
}

/** Ends the link's neighbours: permanent ones too do not outlive a link that goes down. */
export function dropNeighboursOf(namespace: FakeNamespace, { index }: FakeLink, which: "all" | "IPv4" | "IPv6"): void {
  const ends = (address: Ip): boolean => which === "all" || (which === "IPv4") === (ipFamily(address) === 4);
  namespace.neighbours = namespace.neighbours.filter(({ link, address }) => link !== index || !ends(address));
}

export function allNeighbours({ neighbours }: FakeNamespace): Neighbour[] {
  return structuredClone(neighbours.toSorted((a, b) => ipFamily(a.address) - ipFamily(b.address)));
}
