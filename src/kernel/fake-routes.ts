// The fake kernel's routes: which it accepts, and which end with a link or an address.

import { cidrContains, cidrFamily, cidrPrefix } from "../net/cidr.ts";
import { type Ip, ipFamily, isLinkLocal } from "../net/ip.ts";
import { type Route, type RouteKey, routeProtocol } from "./contract.ts";
import { ownRoutes } from "./fake-own-routes.ts";
import {
  type FakeLink,
  type FakeNamespace,
  type Refusal,
  hasIpv6,
  ipv6Disabled,
  loopbackIndex,
  refusal,
} from "./fake-world.ts";

const mainTable = 254;
const defaultMetrics = { 4: 0, 6: 1024 } as const;
const scopes = { global: 0, link: 253, host: 254 } as const;
/** The least scope that a route of the type may have. */
const typeScopes: Readonly<Record<string, number>> = {
  local: scopes.host,
  broadcast: scopes.link,
  anycast: scopes.link,
};
const tableOf = ({ table = mainTable }: RouteKey): number => table;
const metricOf = ({ to, metric }: RouteKey): number => metric ?? defaultMetrics[cidrFamily(to)];
const scopeOf = ({ scope = "global" }: Route): number => scopes[scope];
const rejects = ({ type }: Route): boolean => type === "unreachable" || type === "blackhole";

/** Adds the route, or with `replace` changes the one of the same destination, table and metric. */
export function setRoute(namespace: FakeNamespace, asked: Route, replace: boolean): Refusal {
  const family = cidrFamily(asked.to);
  // An IPv6 metric of 0 means the default one.
  const wanted = { ...asked, ...(family === 6 && asked.metric === 0 ? { metric: defaultMetrics[6] } : {}) };
  const hop = family === 4 ? nextHop4(namespace, wanted) : nextHop6(namespace, wanted);
  if ("errno" in hop) return hop;
  const route = shortest(wanted, hop.link);
  const at = namespace.routes.findIndex((held) => sameKey(held, route));
  const taken = at >= 0 || ownRoutes(namespace).some((held) => sameKey(held, route));
  if (taken && !replace) return refusal("EEXIST");
  if (at >= 0) namespace.routes[at] = route;
  else namespace.routes.push(route);
  return undefined;
}

/** Removes the route of that key and maker. */
export function removeRoute(namespace: FakeNamespace, key: RouteKey): Refusal {
  const family = cidrFamily(key.to);
  const { protocol = routeProtocol, link } = key;
  const metric = key.metric === 0 ? undefined : key.metric;
  const candidates = namespace.routes.filter(
    (route) =>
      route.to === key.to &&
      tableOf(route) === tableOf(key) &&
      route.protocol === protocol &&
      (link === undefined || hangsOn(route) === link) &&
      // Without a metric IPv4 takes the first route, IPv6 the one with the default metric.
      (metric === undefined && family === 4 ? true : metricOf(route) === (metric ?? defaultMetrics[family])),
  );
  const [first] = candidates.toSorted((a, b) => metricOf(a) - metricOf(b));
  if (first === undefined) return refusal("ESRCH");
  namespace.routes.splice(namespace.routes.indexOf(first), 1);
  return undefined;
}

/** Every route: the IPv4 ones first, as they are read. */
export function allRoutes(namespace: FakeNamespace): Route[] {
  const routes = [...namespace.routes, ...ownRoutes(namespace)];
  return structuredClone(routes.toSorted((a, b) => cidrFamily(a.to) - cidrFamily(b.to)));
}

/** What happened to a link. Going down, it keeps IPv4 routes of host scope: they lead to the host itself. */
export type LinkLoss = "down" | "gone" | "no IPv4" | "no IPv6";

/** Ends the routes over a link. */
export function dropRoutesOf(namespace: FakeNamespace, { index }: FakeLink, loss: LinkLoss): void {
  namespace.routes = namespace.routes.filter((route) => {
    if (hangsOn(route) !== index || loss === "gone") return hangsOn(route) !== index;
    if (cidrFamily(route.to) === 6) return loss === "no IPv4";
    return loss === "no IPv6" || (loss === "down" && route.scope === "host");
  });
}

/** A link's MTU has changed: its IPv6 routes that had the old one, or more than the new one, follow. */
export function followMtu(namespace: FakeNamespace, { index, mtu }: FakeLink, oldMtu: number): void {
  for (const route of namespace.routes) {
    if (cidrFamily(route.to) === 4 || route.mtu === undefined || hangsOn(route) !== index) continue;
    if (route.mtu >= mtu || route.mtu === oldMtu) route.mtu = mtu;
  }
}

/** An address was removed: if no link has it any more, IPv4 routes of the main table that name it as their source end, and IPv6 ones forget it. */
export function dropSource(namespace: FakeNamespace, address: Ip): void {
  if (namespace.addresses.some((held) => held.address === address)) return;
  if (ipFamily(address) === 4) {
    namespace.routes = namespace.routes.filter((route) => route.src !== address || tableOf(route) !== mainTable);
  } else {
    for (const route of namespace.routes) if (route.src === address) delete route.src;
  }
}

/** The link that the kernel keeps the route with; an IPv6 route that leads nowhere is kept with the loopback. */
function hangsOn(route: Route): number | undefined {
  return cidrFamily(route.to) === 6 && rejects(route) ? loopbackIndex : route.link;
}

function sameKey(a: Route, b: Route): boolean {
  return a.to === b.to && tableOf(a) === tableOf(b) && metricOf(a) === metricOf(b);
}

/** The route as it is read back: what the kernel would choose by itself is absent. */
function shortest(route: Route, link: number | undefined): Route {
  const { to, metric, table, src, type = "unicast", mtu, protocol = routeProtocol } = route;
  const via = rejects(route) ? undefined : route.via;
  const scope = route.scope ?? (type === "local" ? "host" : "global");
  return {
    to,
    ...(link === undefined ? {} : { link }),
    ...(metric === undefined || metric === defaultMetrics[cidrFamily(to)] ? {} : { metric }),
    ...(table === undefined || table === mainTable ? {} : { table }),
    ...(via === undefined ? {} : { via }),
    ...(src === undefined ? {} : { src }),
    ...(cidrFamily(to) === 6 || scope === "global" ? {} : { scope }),
    ...(type === "unicast" ? {} : { type }),
    protocol,
    ...(mtu === undefined ? {} : { mtu }),
  };
}

type NextHop = { link: number | undefined };

function nextHop4(namespace: FakeNamespace, route: Route): NextHop | NonNullable<Refusal> {
  const { type = "unicast", link, via, src } = route;
  const scope = scopeOf({ ...route, scope: route.scope ?? (type === "local" ? "host" : "global") });
  if (rejects(route)) {
    if (link === undefined && via === undefined) return { link: undefined };
    return refusal("EINVAL", "Gateway, device and multipath can not be specified for this route type");
  }
  if ((typeScopes[type] ?? scopes.global) > scope) return refusal("EINVAL", "Invalid scope");
  const hop = via === undefined ? direct4(namespace, link, scope) : gateway4(namespace, route, via, scope);
  if ("errno" in hop) return hop;
  if (src !== undefined && !isLocal4(namespace, src)) return refusal("EINVAL", "Invalid prefsrc address");
  return hop;
}

function direct4({ links }: FakeNamespace, index: number | undefined, scope: number): NextHop | NonNullable<Refusal> {
  const link = index === undefined ? undefined : links.get(index);
  if (link === undefined) return refusal("ENODEV");
  if (!link.up && scope !== scopes.host) return refusal("ENETDOWN", "Device for nexthop is not up");
  return { link: link.index };
}

/** A gateway must be reached directly: by a route of a nearer scope than its own, at least link scope, over the link that is named, if one is. */
function gateway4(namespace: FakeNamespace, route: Route, via: Ip, scope: number): NextHop | NonNullable<Refusal> {
  const invalid = (errno: "EINVAL" | "ENETUNREACH") => refusal(errno, "Nexthop has invalid gateway");
  if (ipFamily(via) === 6) return route.link === undefined ? invalid("EINVAL") : direct4(namespace, route.link, scope);
  if (scope >= scopes.host) return refusal("EINVAL", "Route with host scope can not have a gateway");
  const nearer = Math.max(scope + 1, scopes.link);
  const all = [...namespace.routes, ...ownRoutes(namespace)];
  for (const table of tablesFor(namespace, route, via)) {
    const [found] = all
      .filter((held) => tableOf(held) === table && cidrContains(held.to, via) && scopeOf(held) >= nearer)
      .filter((held) => route.link === undefined || held.link === route.link)
      .toSorted((a, b) => cidrPrefix(b.to) - cidrPrefix(a.to) || metricOf(a) - metricOf(b));
    if (found === undefined) continue;
    if (found.type !== undefined && found.type !== "local") return invalid("EINVAL");
    return direct4(namespace, found.link, scope);
  }
  return invalid("ENETUNREACH");
}

/** Where a gateway is looked for: first among the routes that it is for, then as a packet without source or mark would. */
function tablesFor({ rules }: FakeNamespace, route: Route, via: Ip): Set<number> {
  const matching = rules.filter(
    ({ family, from, to, mark, mask }) =>
      family === ipFamily(via) &&
      from === undefined &&
      (to === undefined || cidrContains(to, via)) &&
      (mark & mask) === 0,
  );
  const tablesInOrder = matching.map(({ table }) => table);
  return new Set(
    ipFamily(via) === 4 && tableOf(route) === mainTable ? tablesInOrder : [tableOf(route), ...tablesInOrder],
  );
}

function isLocal4(namespace: FakeNamespace, ip: Ip): boolean {
  return ownRoutes(namespace).some(({ to, type }) => type === "local" && cidrContains(to, ip));
}

function nextHop6(namespace: FakeNamespace, route: Route): NextHop | NonNullable<Refusal> {
  const hop = hop6(namespace, route);
  const { src } = route;
  if ("errno" in hop || src === undefined || namespace.addresses.some(({ address }) => address === src)) return hop;
  return refusal("EINVAL", "Invalid source address");
}

function hop6(namespace: FakeNamespace, route: Route): NextHop | NonNullable<Refusal> {
  const link = route.link === undefined ? undefined : namespace.links.get(route.link);
  if (route.link !== undefined && (link === undefined || !hasIpv6(link))) return refusal("ENODEV");
  if (rejects(route)) return { link: undefined };
  const refused = link === undefined ? undefined : usable6(link);
  if (refused !== undefined) return refused;
  if (route.via !== undefined) return gateway6(namespace, route, route.via, link);
  return link === undefined ? refusal("ENODEV") : { link: link.index };
}

function usable6(link: FakeLink): Refusal {
  if (!link.up) return refusal("ENETDOWN", "Nexthop device is not up");
  return ipv6Disabled(link) ? refusal("EACCES", "IPv6 is disabled on nexthop device") : undefined;
}

function gateway6(
  namespace: FakeNamespace,
  route: Route,
  via: Ip,
  link: FakeLink | undefined,
): NextHop | NonNullable<Refusal> {
  const own = namespace.addresses.some(
    (held) => held.address === via && (!isLinkLocal(via) || held.link === link?.index),
  );
  if (own) return refusal("EINVAL", "Gateway can not be a local address");
  if (isLinkLocal(via)) {
    if (link === undefined) return refusal("EINVAL", "Egress device not specified");
    return link.index === loopbackIndex ? refusal("EINVAL") : { link: link.index };
  }
  const all = [...namespace.routes, ...ownRoutes(namespace)];
  for (const table of tablesFor(namespace, route, via)) {
    const [found] = all
      .filter((held) => tableOf(held) === table && cidrContains(held.to, via))
      .filter((held) => link === undefined || held.link === link.index)
      .toSorted((a, b) => cidrPrefix(b.to) - cidrPrefix(a.to) || metricOf(a) - metricOf(b));
    if (found !== undefined && found.via === undefined && !rejects(found)) return { link: found.link };
  }
  return refusal("EHOSTUNREACH");
}
