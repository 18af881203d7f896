// The node's side of attachments: links, routes, neighbours and rules that are ours, against those that must be there.

import { cidrFamily } from "../../src/net/cidr.ts";
import { ipFamily } from "../../src/net/ip.ts";
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
import { groupDifference } from "./policy.ts";
import type { SeenLink, SeenNetwork, SeenRoute, SeenRule } from "./seen.ts";

/** Every link of ours on a node begins so. */
const linkPrefix = "fl";
/** Groups from here on are ours. */
const groupFirst = 98;
/** A link in one of these waits for the reaper. */
const doomedGroups = new Set([98, 99]);
const unreachable = 7;
/** Behind the routes of pods. */
const unreachableMetric = 4_000_000;

/** A link that is to be on the node, and whose. */
interface HostLink {
  living: Living;
  link: LivingLink;
}

export function compareHostSide(node: AuditedNode, living: readonly Living[], seen: HostSide): Difference[] {
  const wanted = living.flatMap((one) => (typeof one.link === "object" ? [{ living: one, link: one.link }] : []));
  const names = new Set(seen.node.links.map(({ name }) => name));
  // What hangs on a link goes with it, and one word about the link is enough.
  const present = wanted.filter(({ link }) => names.has(link.host.name));
  return [
    ...wanted.flatMap((one) => linkDifferences(one, seen)),
    ...strayLinkDifferences(node, wanted, seen.node.links),
    ...routeDifferences(node, present, seen.node.routes),
    ...neighbourDifferences(present, seen.node),
    ...seen.rules
      .filter(({ protocol }) => protocol === ourProtocol)
      .map(({ priority, table }) => differs(`rule ${priority} to table ${table} is ours, and nobody needs it`)),
  ];
}

interface HostSide {
  node: SeenNetwork;
  rules: readonly SeenRule[];
  /** All nftables of the node. */
  ruleset: string;
  pods: ReadonlyMap<string, SeenNetwork | undefined>;
}

function linkDifferences(
  { living, link: { host, netnsPath, mtu } }: HostLink,
  { node, pods, ruleset }: HostSide,
): Difference[] {
  const held = node.links.find(({ name }) => name === host.name);
  const what = `link ${host.name} of ${living.name}`;
  if (held === undefined) {
    // It dies with its pod's namespace; the attachment lives on until DEL.
    return pods.get(netnsPath) === undefined ? [] : [differs(`${what} is missing`)];
  }
  const alias = `fairlead1 ${living.name}`;
  const group = groupDifference(held.group, ruleset);
  return [
    ...unless(held.kind === "veth", `${what} is a ${held.kind || "device"}, not a veth`),
    ...unless(held.alias === alias, `${what} has the alias "${held.alias}", not "${alias}"`),
    ...unless(group === undefined, `${what} ${group ?? ""}`),
    ...linkStateDifferences(held, what, { mac: host.mac, mtu, index: host.index }),
    ...held.addresses.map(({ address }) => differs(`${what} has an address, ${address}; it should have none`)),
  ];
}

/** Links of ours that nobody needs, and links of others where only ours may be. */
function strayLinkDifferences(
  { agent }: AuditedNode,
  wanted: readonly HostLink[],
  links: readonly SeenLink[],
): Difference[] {
  const needed = new Set(wanted.map(({ link }) => link.host.name));
  return links.flatMap(({ name, kind, group, alias }) => {
    if (needed.has(name)) return [];
    if (name.startsWith(linkPrefix) && kind === "veth" && doomedGroups.has(group)) {
      // Without an agent nobody removes it; the next one will.
      return agent === "runs" ? [{ what: `link ${name} ("${alias}") waits for its removal`, mayPass: true }] : [];
    }
    if (name.startsWith(linkPrefix) || alias.startsWith("fairlead")) {
      return [differs(`link ${name} ("${alias}", group ${group}) belongs to no attachment`)];
    }
    return group < groupFirst ? [] : [differs(`link ${name} is not ours, but in our group ${group}`)];
  });
}

function routeDifferences(node: AuditedNode, wanted: readonly HostLink[], routes: readonly SeenRoute[]): Difference[] {
  // What the kernel keeps for a link's addresses follows from them; those are told as what they are.
  const ours = routes.filter(
    ({ protocol, link = "", table }) =>
      protocol === ourProtocol ||
      (link.startsWith(linkPrefix) && !(protocol === kernelProtocol && table === localTable)),
  );
  return compareTexts(wantedRoutes(node, wanted).map(routeText), ours.map(routeText), {
    missing: (route) => `route ${route} is missing on the node`,
    extra: (route) => `route ${route} is on the node, and nobody needs it`,
  });
}

function wantedRoutes({ blocks, routes, uplink }: AuditedNode, wanted: readonly HostLink[]): SeenRoute[] {
  const common = { type: 1, scope: 0, table: mainTable, protocol: ourProtocol };
  return [
    ...wanted.flatMap(({ living: { addresses }, link: { host } }) =>
      addresses.map((address) => {
        const family = ipFamily(address);
        const src = uplink.addresses[family];
        return {
          ...common,
          to: `${address}/${family === 4 ? 32 : 128}`,
          link: host.name,
          scope: family === 4 ? linkScope : 0,
          metric: metricDefault[family],
          ...(src === undefined ? {} : { src }),
        };
      }),
    ),
    ...blocks.map((to) => ({ ...common, to, type: unreachable, metric: unreachableMetric })),
    ...routes.map(({ to, via }) => ({ ...common, to, via, link: uplink.name, metric: metricDefault[cidrFamily(to)] })),
  ];
}

function neighbourDifferences(wanted: readonly HostLink[], { neighbours }: SeenNetwork): Difference[] {
  const texts = wanted.flatMap(({ living: { addresses }, link: { host, pod } }) =>
    addresses.map((address) => `${address} at ${pod.mac} on ${host.name}`),
  );
  return neighbourTextDifferences(texts, neighbours, (link) => link.startsWith(linkPrefix), "on the node");
}
