// Links, routes and neighbours in the kernel's numbers and in our words: what both sides of an attachment are compared by.

import { compareTexts, type Difference, unless } from "./difference.ts";
import type { SeenLink, SeenNetwork, SeenRoute } from "./seen.ts";

/** Protocol number of every route and rule that is ours. */
export const ourProtocol = 142;
// rtnetlink(7)
export const kernelProtocol = 2;
export const mainTable = 254;
export const localTable = 255;
export const linkScope = 253;

/** What an IPv6 route has where nobody says another; IPv4 has 0. */
export const metricDefault = { 4: 0, 6: 1024 } as const;

/** What both ends of a link are held to. */
export function linkStateDifferences(
  held: SeenLink,
  what: string,
  wanted: { mac: string; mtu: number | undefined; index: number | undefined },
): Difference[] {
  const { mac, mtu = held.mtu, index = held.index } = wanted;
  return [
    ...unless(held.up, `${what} is down`),
    ...unless(!held.up || held.running, `the other end of ${what} is down or gone`),
    ...unless(held.mac === mac, `${what} has the hardware address ${held.mac}, not ${mac}`),
    ...unless(held.mtu === mtu, `${what} has MTU ${held.mtu}, not ${mtu}`),
    ...unless(held.index === index, `${what} has index ${held.index}, not ${index}`),
  ];
}

const typeNames: Readonly<Record<number, string>> = { 2: "local ", 3: "broadcast ", 4: "anycast ", 7: "unreachable " };

/** A route in one line, everything told that is not as usual. */
export function routeText({ to, via, link, type, src, scope, table, metric, protocol }: SeenRoute): string {
  const kind = type === 1 ? "" : (typeNames[type] ?? `type ${type} `);
  return [
    `${kind}${to}`,
    ...(via === undefined ? [] : [`via ${via}`]),
    ...(link === undefined ? [] : [`dev ${link}`]),
    ...(src === undefined ? [] : [`src ${src}`]),
    ...(scope === 0 ? [] : [scope === linkScope ? "scope link" : `scope ${scope}`]),
    ...(metric === metricDefault[to.includes(":") ? 6 : 4] ? [] : [`metric ${metric}`]),
    ...(table === mainTable ? [] : [`table ${table}`]),
    ...(protocol === ourProtocol ? [] : [`proto ${protocol}`]),
  ].join(" ");
}

/** Permanent neighbours on links of ours, exactly; what the kernel learns itself comes and goes. */
export function neighbourTextDifferences(
  wanted: readonly string[],
  neighbours: SeenNetwork["neighbours"],
  isOurs: (link: string) => boolean,
  where: string,
): Difference[] {
  const held = neighbours
    .filter(({ permanent, link }) => permanent && isOurs(link))
    .map(({ address, mac, link }) => `${address} at ${mac} on ${link}`);
  return compareTexts(wanted, held, {
    missing: (text) => `permanent neighbour ${text} is missing ${where}`,
    extra: (text) => `permanent neighbour ${text} is there ${where}, and nobody needs it`,
  });
}
