// What goes round policy on this node, or round connection tracking, by which it knows answers: looked for, and told with its cure.

import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import type { Pool } from "../../ipam/pool.ts";
import type { Kernel, Link, UntrackedRule } from "../../kernel/contract.ts";
import { cidrContains } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import type { Judging } from "../cluster/judging.ts";
import type { Finding } from "../finding.ts";

/** The link that kube-proxy makes in IPVS mode. */
const ipvsLink = "kube-ipvs0";
/** Of one kind in one list. */
const toldMax = 8;
const name = "policy-bypass";

/** By the node's links alone; `own`: indexes of pods' links. What IPVS sends on is the node's own output, and is never forwarded. */
export function bypassFindings(
  links: readonly Pick<Link, "name" | "index" | "hasXdp">[],
  own: ReadonlySet<number>,
): Finding[] {
  const ipvs: Finding = {
    name,
    state: "bad",
    says: `${ipvsLink} is there: kube-proxy runs in IPVS mode, and what it sends to services' pods is not judged`,
    cure: `run kube-proxy with mode nftables or iptables; after kube-proxy --cleanup ${ipvsLink} is gone`,
  };
  const withXdp = links.filter(({ index, hasXdp }) => hasXdp === true && own.has(index));
  return [
    ...(links.some((link) => link.name === ipvsLink) ? [ipvs] : []),
    ...(withXdp.length === 0 ? [] : [programs("XDP", withXdp)]),
  ];
}

const programs = (kind: string, links: readonly Pick<Link, "name">[]): Finding => ({
  name,
  state: "bad",
  says: `eBPF programs (${kind}) are on pods' links, and can send packets past what judges them: ${listed(links.map((link) => link.name))}`,
  cure: "see whose they are (bpftool net), and take that program off links named fl*; two network plugins on one node do not go together",
});

/** Rules that match addresses of pods, or any: an answer that is not tracked is judged as a packet of its own, and denied. */
export function untrackedFindings(rules: readonly UntrackedRule[], isPods: (address: Ip) => boolean): Finding[] {
  const concerned = rules.filter(({ addresses }) => addresses.length === 0 || addresses.some(isPods));
  if (concerned.length === 0) return [];
  const places = [...new Set(concerned.map(({ family, table, chain }) => `${family} ${table} ${chain}`))];
  return [
    {
      name,
      state: "warn",
      says: `rules keep pods' packets from connection tracking, and answers of pods that are judged are denied then: ${listed(places)}`,
      cure: "take the notrack rules away, or have them name addresses that are no pod's",
    },
  ];
}

function listed(names: readonly string[]): string {
  const more = names.length - toldMax;
  return more > 0 ? `${names.slice(0, toldMax).join(", ")} and ${more} more` : names.join(", ");
}

const ownLinks = (pool: Pick<Pool, "all">): Set<number> =>
  new Set(pool.all().flatMap(({ attachment: { wire } }) => (wire === undefined ? [] : [wire.hostIndex])));

/** Programs on pods' links: a list of the kernel, one more for each link that has filters, and a call for what tcx attached to pods' links. */
async function lookForPrograms(
  { node }: Pick<Kernel, "node">,
  links: readonly Link[],
  own: ReadonlySet<number>,
): Promise<Finding[]> {
  const [withFilters, withTcx] = await Promise.all([node.programs(), node.tcxPrograms([...own])]);
  const ownAmong = (indexes: readonly number[]): Link[] => {
    const found = new Set(indexes);
    return links.filter(({ index }) => own.has(index) && found.has(index));
  };
  // Where tcx cannot be asked, the agent has said so as it started: a feature that is missing.
  const attached = { tc: ownAmong(withFilters), tcx: ownAmong(withTcx ?? []) };
  return Object.entries(attached).flatMap(([kind, found]) => (found.length === 0 ? [] : [programs(kind, found)]));
}

/** All of it, with what keeps packets from connection tracking. */
export async function lookForBypasses(kernel: Kernel, pool: Pick<Pool, "all" | "blocks">): Promise<Finding[]> {
  const own = ownLinks(pool);
  const [links, rules] = await Promise.all([kernel.node.links(), kernel.untrackedRules()]);
  const isPods = (address: Ip): boolean => pool.blocks().some((block) => cidrContains(block, address));
  return [
    ...bypassFindings(links, own),
    ...(await lookForPrograms(kernel, links, own)),
    ...untrackedFindings(rules, isPods),
  ];
}

/** A look costs calls for each pod: not with every pass. */
const lookEveryMs = 30_000;
/** After one that failed. */
const retryMs = 1_000;

export interface BypassLookDeps {
  kernel: Pick<Kernel, "node">;
  pool: Pick<Pool, "all">;
  log: Log;
  /** Milliseconds, never going back. */
  clock: () => number;
}

/**
 * Gives why packets can pass unjudged: by the node's links, as they are given, and by programs on them as they were seen last, twice a minute
 * at most; "not known" where they were never seen. A look that fails is no failure of who asks.
 */
export function createBypassLook({
  kernel,
  pool,
  log,
  clock,
}: BypassLookDeps): (links: readonly Link[]) => Promise<Judging["bypass"]> {
  let seen: Judging["bypass"] = "not known";
  let dueMs = -Infinity;
  const told = (finding: Finding | undefined): Judging["bypass"] =>
    finding === undefined ? "none" : { why: finding.says };
  return async (links) => {
    const own = ownLinks(pool);
    const [byLinks] = bypassFindings(links, own);
    if (byLinks !== undefined) return told(byLinks);
    if (clock() < dueMs) return seen;
    try {
      const [program] = await lookForPrograms(kernel, links, own);
      seen = told(program);
      dueMs = clock() + lookEveryMs;
    } catch (error) {
      dueMs = clock() + retryMs;
      log.warn({ error: describe(error) }, "what goes round policy could not be looked for");
    }
    return seen;
  };
}
