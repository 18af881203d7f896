// The routes that the fake kernel makes by itself, out of links and addresses.

import { present } from "../base/assert.ts";
import { type Cidr, addressAt, cidrOf, cidrSize, hostCidr, parseCidr } from "../net/cidr.ts";
import { ipFamily, isLinkLocal } from "../net/ip.ts";
import type { Route } from "./contract.ts";
import { type FakeAddress, type FakeLink, type FakeNamespace, loopbackIndex } from "./fake-world.ts";

const localTable = 255;
const kernelProtocol = 2;
const network = (text: string): Cidr => present(parseCidr(text), text);
const linkLocalNetwork = network("fe80::/64");
const multicastNetwork = network("ff00::/8");

/** The routes that the kernel makes by itself: for its own addresses, broadcasts, multicast and link-local networks. */
export function ownRoutes(namespace: FakeNamespace): Route[] {
  const routes = namespace.addresses.flatMap((held) => {
    const link = namespace.links.get(held.link);
    if (link === undefined) return [];
    return ipFamily(held.address) === 4 ? addressRoutes4(namespace, link, held) : addressRoutes6(link, held);
  });
  for (const { index, multicast } of namespace.links.values()) {
    if (multicast && index !== loopbackIndex) {
      routes.push({
        to: multicastNetwork,
        link: index,
        metric: 256,
        table: localTable,
        type: "multicast",
        protocol: kernelProtocol,
      });
    }
  }
  return routes.filter((route, at) => routes.findIndex((other) => isSame(other, route)) === at);
}

function addressRoutes4(namespace: FakeNamespace, link: FakeLink, held: FakeAddress): Route[] {
  const { address, prefix, own } = held;
  const subnet = cidrOf(address, prefix);
  // The first address of a subnet speaks for the others.
  const first = namespace.addresses.find(
    (other) => other.link === held.link && cidrOf(other.address, other.prefix) === subnet,
  );
  const common = { link: link.index, table: localTable, src: first?.address ?? address, protocol: kernelProtocol };
  const local: Route = { ...common, to: hostCidr(address), scope: "host", type: "local" };
  const broadcast: Route = {
    ...common,
    to: hostCidr(addressAt(subnet, cidrSize(subnet) - 1n)),
    scope: "link",
    type: "broadcast",
  };
  return [
    ...(own && link.index === loopbackIndex ? [{ ...local, to: subnet }] : []),
    local,
    ...(link.up && prefix < 31 && first === held ? [broadcast] : []),
  ];
}

function addressRoutes6(link: FakeLink, { address, own }: FakeAddress): Route[] {
  const common = { link: link.index, protocol: kernelProtocol };
  const local: Route = { ...common, to: hostCidr(address), metric: 0, table: localTable, type: "local" };
  return own && isLinkLocal(address) ? [local, { ...common, to: linkLocalNetwork, metric: 256 }] : [local];
}

function isSame(a: Route, b: Route): boolean {
  return a.to === b.to && a.link === b.link && a.table === b.table && a.metric === b.metric && a.src === b.src;
}
