// Addresses and facts in the state file: each living address leased once, none cooling that is in use, none outside the blocks.

import { addressAt, type Cidr, cidrBase, cidrContains, cidrFamily, cidrSize } from "../../src/net/cidr.ts";
import { type Ip, ipFamily, parseIp } from "../../src/net/ip.ts";
import { type Difference, differs } from "./difference.ts";
import type { Living } from "./living.ts";
import type { Seen } from "./look.ts";
import { type AuditedNode, servesFamily } from "./node.ts";
import type { Journal } from "./state-file.ts";

/** A released address rests for so long (docs/agent.md). */
const coolMs = 60_000;
/** A running agent frees what has cooled at least this soon. */
const freeWithinMs = 10_000;

/** The facts that the agent keeps beside attachments; another one is something that this audit does not know yet. */
const knownFacts = ["bootId", "node"];
/** What it keeps in a cluster beside these. */
const clusterFacts = ["nodeUid", "blocks"];

export function compareLeases(node: AuditedNode, { journal, bootId, nowMs }: Seen): Difference[] {
  if (typeof journal === "string") return [];
  return [
    ...leaseDifferences(node, journal),
    ...coolingDifferences(node, journal, nowMs),
    ...factDifferences(node, journal, bootId),
  ];
}

function leaseDifferences(node: AuditedNode, { attachments }: Journal): Difference[] {
  const holders = new Map<Ip, string>();
  return attachments.flatMap(({ living: { name, addresses, delegated } }) => [
    ...addresses.flatMap((address) => {
      const other = holders.get(address);
      holders.set(address, name);
      return [
        ...(other === undefined ? [] : [differs(`address ${address} is leased twice: to ${other} and to ${name}`)]),
        ...(delegated === true ? [] : placeDifferences(node, address, `address ${address} of ${name}`)),
      ];
    }),
    ...(delegated === true ? [] : ([4, 6] as const)).flatMap((family) => {
      const count = addresses.filter((address) => ipFamily(address) === family).length;
      const wanted = servesFamily(node, family) ? 1 : 0;
      return count === wanted ? [] : [differs(`attachment ${name} has ${count} IPv${family} addresses, not ${wanted}`)];
    }),
  ]);
}

function coolingDifferences(node: AuditedNode, { attachments, cooling }: Journal, nowMs: number): Difference[] {
  const leased = new Map(
    attachments.flatMap(({ living: { name, addresses } }) => addresses.map((address) => [address, name])),
  );
  return cooling.flatMap(({ address: text, untilMs }) => {
    const address = parseIp(text);
    if (address === undefined || address !== text) return [differs(`"${text}", which cools, is no address`)];
    const holder = leased.get(address);
    const leftMs = untilMs - nowMs;
    return [
      ...(holder === undefined ? [] : [differs(`address ${address} cools and is leased to ${holder} as well`)]),
      ...placeDifferences(node, address, `address ${address}, which cools,`),
      ...(leftMs > coolMs
        ? [differs(`address ${address} is to cool for another ${Math.round(leftMs / 1000)} s, longer than any may`)]
        : []),
      ...(node.agent === "runs" && leftMs < -freeWithinMs
        ? [
            {
              what: `address ${address} has cooled ${Math.round(-leftMs / 1000)} s ago and is not freed`,
              mayPass: true,
            },
          ]
        : []),
    ];
  });
}

/** Nothing where a pod of this node may have the address; `who` begins the sentence. */
function placeDifferences({ blocks }: AuditedNode, address: Ip, who: string): Difference[] {
  const block = blocks.find((one) => cidrContains(one, address));
  if (block === undefined) return [differs(`${who} lies outside the node's blocks ${blocks.join(", ")}`)];
  return neverGiven(block).includes(address) ? [differs(`${who} is one that ${block} never gives`)] : [];
}

/**
 * First and last of an IPv4 block, first of an IPv6 one, and the one after the first in blocks of eight and more, which is for
 * a gateway (docs/agent.md); blocks of one or two addresses give all.
 */
function neverGiven(block: Cidr): Ip[] {
  const family = cidrFamily(block);
  const size = cidrSize(block);
  if (size <= 2n) return [];
  return [
    cidrBase(block),
    ...(size >= 8n ? [addressAt(block, 1n)] : []),
    ...(family === 4 ? [addressAt(block, size - 1n)] : []),
  ];
}

function factDifferences({ inCluster = false, blocks }: AuditedNode, { facts }: Journal, bootId: string): Difference[] {
  const held = facts.get("bootId");
  const known = inCluster ? [...knownFacts, ...clusterFacts] : knownFacts;
  const kept = facts.get("blocks") ?? "none";
  return [
    ...(held === bootId ? [] : [differs(`the state file is of boot ${held ?? "unknown"}, the machine of ${bootId}`)]),
    ...[...facts.keys()]
      .filter((name) => !known.includes(name))
      .map((name) => differs(`the state file holds a fact "${name}" that the audit does not know`)),
    ...(inCluster && kept !== blocks.join(" ")
      ? [differs(`the state file keeps the blocks ${kept}, the node has ${blocks.join(" ")}`)]
      : []),
  ];
}

/** Tracked connections of addresses that a pod had once and nobody has now: they would catch the next pod's packets. */
export function compareFlows(
  node: AuditedNode,
  living: readonly Living[],
  { flows, journal, nowMs }: Seen,
): Difference[] {
  if (node.deadFlows === "ignored") return [];
  const cooling = typeof journal === "string" ? [] : journal.cooling.filter(({ untilMs }) => untilMs > nowMs);
  const spared = new Set<string>([
    ...living.flatMap(({ addresses }) => addresses),
    ...(node.deadFlows === "none" ? [] : cooling.map(({ address }) => address)),
  ]);
  const dead = flows.flatMap((flow) => {
    const ours = flow.filter((text) => {
      const address = parseIp(text);
      return address !== undefined && !spared.has(address) && node.blocks.some((block) => cidrContains(block, address));
    });
    return [...new Set(ours)];
  });
  return [...Map.groupBy(dead, (address) => address)].map(([address, { length }]) =>
    cooling.some((one) => one.address === address)
      ? {
          what: `${length} tracked connections of ${address}, which no pod has any more`,
          mayPass: node.agent === "runs",
        }
      : differs(`${length} tracked connections of ${address}, which no pod has and which does not cool`),
  );
}
