// The inside of living pods: interface, addresses, routes and neighbours, exactly as their attachments promise.

import { cidrFamily } from "../../src/net/cidr.ts";
import { type Ip, ipFamily } from "../../src/net/ip.ts";
import { linkLocalOf } from "../../src/net/mac.ts";
import { compareTexts, type Difference, differs, unless } from "./difference.ts";
import {
  kernelProtocol,
  linkScope,
  linkStateDifferences,
  localTable,
  mainTable,
  metricDefault,
  neighbourTextDifferences,
  ourProtocol,
  routeText,
} from "./kernel-words.ts";
import type { Living, LivingLink } from "./living.ts";
import type { AuditedNode } from "./node.ts";
import type { SeenPod } from "./look.ts";
import type { SeenLink, SeenNetwork, SeenRoute } from "./seen.ts";

/** The next hop of each family, which no network uses. */
const gateways = { 4: "169.254.1.1", 6: "fe80::1" } as const;
const everything = { 4: "0.0.0.0/0", 6: "::/0" } as const;

interface PodLink {
  living: Living;
  link: LivingLink;
  /** The interface in the pod, where it is there. */
  held: SeenLink | undefined;
}

export function comparePods(
  { agent }: AuditedNode,
  living: readonly Living[],
  { node, pods }: { node: SeenNetwork; pods: ReadonlyMap<string, SeenPod | undefined> },
): Difference[] {
  return [...pods].flatMap(([path, pod]) => {
    // A pod whose namespace is gone has nothing to look at; its links went with it.
    if (pod === undefined) return [];
    const where = `in ${path}`;
    const links = living.flatMap((one): PodLink[] => {
      const { link } = one;
      if (typeof link !== "object" || link.netnsPath !== path) return [];
      return [{ living: one, link, held: pod.links.find(({ name }) => name === link.pod.name) }];
    });
    const present = links.filter(({ held }) => held !== undefined);
    const ours = new Set(present.map(({ link }) => link.pod.name));
    return [
      ...links.flatMap((one) => interfaceDifferences(one, node.links, where)),
      ...unless(
        pod.links.some(({ name, up }) => name === "lo" && up),
        `lo is down ${where}`,
      ),
      ...routeDifferences(present, pod.routes, where),
      ...ruleDifferences(present, pod, where),
      ...neighbourTextDifferences(
        present.flatMap(({ living, link }) =>
          mainAddresses(living, link).map(({ gateway }) => `${gateway} at ${link.host.mac} on ${link.pod.name}`),
        ),
        pod.neighbours,
        (link) => ours.has(link),
        where,
      ),
      ...remainsDifferences(agent, pod.links, ours, where),
    ];
  });
}

function interfaceDifferences(podLink: PodLink, hostLinks: readonly SeenLink[], where: string): Difference[] {
  const { living, link, held } = podLink;
  const { pod, host, mtu } = link;
  const what = `interface ${pod.name} of ${living.name} ${where}`;
  const far = hostLinks.find(({ name }) => name === host.name);
  // A pair goes as a whole: the host's end is told already.
  if (held === undefined) return far === undefined ? [] : [differs(`${what} is missing`)];
  const paired = far !== undefined && far.peerIndex === held.index && held.peerIndex === far.index;
  return [
    ...unless(held.kind === "veth", `${what} is a ${held.kind || "device"}, not a veth`),
    ...linkStateDifferences(held, what, { mac: pod.mac, mtu, index: pod.index }),
    ...unless(far === undefined || paired, `${what} is not the other end of ${host.name}`),
    ...addressDifferences(podLink, held, what),
  ];
}

/** The attachment's addresses, and the link-local one of its hardware address where there is IPv6 (RFC 4291, 2.8). */
function addressDifferences({ living, link }: PodLink, held: SeenLink, what: string): Difference[] {
  const { pod } = link;
  const hasIpv6 = living.addresses.some((address) => ipFamily(address) === 6);
  const wanted = podAddresses(living, link).map(({ address, prefix }) => `${address}/${prefix}`);
  return [
    ...compareTexts(
      [...wanted, ...(hasIpv6 ? [`${linkLocalOf(pod.mac)}/64`] : [])],
      held.addresses.map(({ address }) => address),
      {
        missing: (address) => `${what} lacks the address ${address}`,
        extra: (address) => `${what} has the address ${address}, which nobody gave it`,
      },
    ),
    ...held.addresses
      .filter(({ usable }) => !usable)
      .map(({ address }) => differs(`${what} cannot use its address ${address} yet`)),
  ];
}

/** The next hop on the link, and everything else by way of it. What the kernel keeps for addresses is its own affair. */
function routeDifferences(links: readonly PodLink[], routes: readonly SeenRoute[], where: string): Difference[] {
  const indexes = new Map(links.map(({ link, held }) => [link.pod.name, held?.index]));
  const ours = routes.filter(
    ({ protocol, link = "", table }) =>
      protocol === ourProtocol || (indexes.has(link) && !(protocol === kernelProtocol && table === localTable)),
  );
  return compareTexts(links.flatMap((link) => wantedRoutes(link, routes)).map(routeText), ours.map(routeText), {
    missing: (route) => `route ${route} is missing ${where}`,
    extra: (route) => `route ${route} is there ${where}, and nobody needs it`,
  });
}

/** Of a pod's second interface, in families where the first has the plain ones: ranked by its own number, and once more in a table of that number. */
function wantedRoutes(podLink: PodLink, seen: readonly SeenRoute[]): SeenRoute[] {
  const { held } = podLink;
  const second = rankedFamilies(podLink, seen);
  return plainRoutes(podLink).flatMap((route) => {
    if (held === undefined || !second.has(route.to.includes(":") ? 6 : 4)) return [route];
    return [
      { ...route, metric: held.index },
      { ...route, table: held.index },
    ];
  });
}

/** Families in which the interface's routes rank behind those of another. */
function rankedFamilies({ held, link }: PodLink, seen: readonly SeenRoute[]): Set<4 | 6> {
  const ranked = seen.filter((route) => route.link === link.pod.name && route.metric === held?.index);
  return new Set(ranked.map(({ to }) => (to.includes(":") ? 6 : 4)));
}

/** A second interface's addresses are answered by way of it. */
function ruleDifferences(links: readonly PodLink[], { routes, rules }: SeenPod, where: string): Difference[] {
  const wanted = links.flatMap((podLink) => {
    const families = rankedFamilies(podLink, routes);
    const own = podLink.living.addresses.filter((address) => families.has(ipFamily(address)));
    return own.map((address) => `from ${address} to table ${podLink.held?.index}`);
  });
  const ours = rules.filter(({ protocol }) => protocol === ourProtocol);
  return compareTexts(
    wanted,
    ours.map(({ src, table }) => `from ${src} to table ${table}`),
    {
      missing: (rule) => `rule ${rule} is missing ${where}`,
      extra: (rule) => `rule ${rule} is there ${where}, and nobody needs it`,
    },
  );
}

function plainRoutes({ living, link }: PodLink): SeenRoute[] {
  return mainAddresses(living, link).flatMap(({ address, gateway: via }) => {
    const family = ipFamily(address);
    const metric = metricDefault[family];
    const common = { link: link.pod.name, type: 1, table: mainTable, metric, protocol: ourProtocol };
    const further = (link.routes ?? []).filter((to) => cidrFamily(to) === family);
    return [
      { ...common, to: `${via}/${family === 4 ? 32 : 128}`, scope: family === 4 ? linkScope : 0 },
      ...[everything[family], ...further].map((to) => ({
        ...common,
        to,
        via,
        scope: 0,
        ...(family === 4 ? { src: address } : {}),
      })),
    ];
  });
}

interface PodAddress {
  address: Ip;
  prefix: number;
  gateway: string;
}

function podAddresses({ addresses }: Living, { subnets }: LivingLink): PodAddress[] {
  return addresses.map((address, index) => {
    const family = ipFamily(address);
    return { address, prefix: family === 4 ? 32 : 128, gateway: gateways[family], ...subnets?.[index] };
  });
}

/** The first of each family: the pod sends from it, by way of its next hop. */
function mainAddresses(living: Living, link: LivingLink): PodAddress[] {
  const all = podAddresses(living, link);
  return all.filter(
    ({ address }, index) => all.findIndex((other) => ipFamily(other.address) === ipFamily(address)) === index,
  );
}

/** The pod's end of a pair that waits for its removal has a name of ours; nothing of the kind stays in a living pod. */
function remainsDifferences(
  agent: AuditedNode["agent"],
  links: readonly SeenLink[],
  ours: ReadonlySet<string>,
  where: string,
): Difference[] {
  const remains = links.filter(({ name }) => name.startsWith("fl") && !ours.has(name));
  if (agent !== "runs") return [];
  return remains.map(({ name }) => ({ what: `link ${name} is still ${where}`, mayPass: true }));
}
