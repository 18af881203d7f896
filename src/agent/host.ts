// What the node itself needs so that pods work: sysctls, routes to other nodes' blocks, an answer for its own unused addresses.

import type { Brake } from "../base/brake.ts";
import type { Log } from "../base/log.ts";
import type { Metrics } from "../base/metrics.ts";
import { startLoop, type Loop, type LoopPass } from "../base/loop.ts";
import { applyAll } from "../kernel/apply.ts";
import { type Kernel, type Op, type Route, routeProtocol } from "../kernel/contract.ts";
import { type Cidr, cidrFamily } from "../net/cidr.ts";
import type { NodeRoute } from "./place.ts";
import { hostLinkPrefix } from "./plan.ts";

export interface HostPlan {
  /** This node's own blocks. */
  blocks: readonly Cidr[];
  /** The ways to other nodes' blocks. */
  routes: readonly NodeRoute[];
  /** False while it is not known of all other nodes: ways that are there and not wanted stay then. */
  complete: boolean;
  /** A person wrote them down: others may go at once, however many. */
  written: boolean;
  uplinkName: string;
}

export interface HostDeps {
  kernel: Kernel;
  /** Asked anew for each pass: the uplink can change. */
  plan: () => HostPlan;
  /** Holds back the loss of many ways to other nodes at once. */
  brake: Brake;
  log: Log;
  metrics: Pick<Metrics, "repaired">;
}

/** How long many ways must have been unwanted before they go. */
export const waysSettleMs = 5_000;

/** Behind every route of a live pod (metric 0), so that packets to unused addresses of a block are answered, not sent out again. */
const unreachableMetric = 4_000_000;

/** Every kernel setting that the agent owns on a node, but for the uplink's accept_ra (see below), which is written before these. */
export function hostSysctls({ blocks }: HostPlan): Record<string, string> {
  return {
    ...(hasFamily(blocks, 4)
      ? {
          "ipv4/ip_forward": "1",
          // A redirect would make a pod or node bypass the routes we made.
          "ipv4/conf/all/send_redirects": "0",
          "ipv4/conf/default/send_redirects": "0",
          "ipv4/conf/default/accept_redirects": "0",
        }
      : {}),
    ...(hasFamily(blocks, 6) ? { "ipv6/conf/all/forwarding": "1", "ipv6/conf/default/accept_redirects": "0" } : {}),
  };
}

/** The routes that should exist with our protocol number, pods' own excepted. */
export function hostRoutesDesired({ blocks, routes }: HostPlan): Route[] {
  return [
    ...blocks.map((to): Route => ({ to, type: "unreachable", metric: unreachableMetric, protocol: routeProtocol })),
    ...routes.map(({ to, via }): Route => ({ to, via, protocol: routeProtocol })),
  ];
}

/** Starts the loop that keeps sysctls and routes. */
export function startHostLoop(deps: HostDeps, signal: AbortSignal, onPass: (pass: LoopPass) => void): Loop {
  return startLoop({
    name: "host",
    sync: () => syncHost(deps),
    minMs: 200,
    retryMs: 500,
    retryMaxMs: 30_000,
    maxMs: 30_000,
    signal,
    onPass,
  });
}

/** One pass: writes what differs, adds what is missing, then removes routes and rules of ours that nobody wants. */
export async function syncHost({ kernel, plan: askPlan, brake, log, metrics }: HostDeps): Promise<void> {
  const plan = askPlan();
  const written = await syncSysctls(kernel, plan, log);
  const desired = hostRoutesDesired(plan);
  const held = await ownRoutes(kernel);
  const missing = desired.filter((want) => !held.some((have) => sameRoute(want, have)));
  await applyAll(
    kernel.node,
    missing.map((route): Op => ({ op: "route.replace", route })),
  );
  // Looked at anew: what was replaced just now is gone already.
  const unwanted = removable(await ownRoutes(kernel), desired, { plan, brake, log });
  await applyAll(
    kernel.node,
    unwanted.map((route): Op => ({ op: "route.remove", route })),
  );
  const strayRules = await removeRules(kernel, log);
  metrics.repaired("host", written + missing.length + unwanted.length + strayRules);
  if (missing.length > 0 || unwanted.length > 0) {
    log.info({ added: missing.map(({ to }) => to), removed: unwanted.map(({ to }) => to) }, "node routes changed");
  }
}

/** Routes that nobody wants and that may go now: ways to other nodes only where all nodes are known, and many of them not at once. */
function removable(
  held: readonly Route[],
  desired: readonly Route[],
  { plan, brake, log }: Pick<HostDeps, "brake" | "log"> & { plan: HostPlan },
): Route[] {
  const unwanted = held.filter((have) => !desired.some((want) => sameRoute(want, have)));
  const ways = unwanted.filter(({ via }) => via !== undefined);
  const keys = plan.complete ? ways.map(wayKey) : [];
  const allowed = brake.allow(keys, held.filter(({ via }) => via !== undefined).length);
  if (plan.written) return unwanted;
  const heldBack = keys.length - allowed.size;
  if (heldBack > 0)
    log.warn({ ways: heldBack }, "many ways to other nodes are unwanted at once; they stay a little longer");
  return unwanted.filter((route) => route.via === undefined || allowed.has(wayKey(route)));
}

const wayKey = ({ to, via, metric }: Route): string => `${to} ${via} ${metric}`;

/** No rule with our protocol number is wanted here: those that are there come from another mode, or from a stranger. */
async function removeRules(kernel: Kernel, log: Log): Promise<number> {
  const rules = (await kernel.node.rules()).filter(({ protocol }) => protocol === routeProtocol);
  if (rules.length === 0) return 0;
  await applyAll(
    kernel.node,
    rules.map((rule): Op => ({ op: "rule.remove", rule })),
  );
  log.info({ priorities: rules.map(({ priority }) => priority) }, "rules that nobody wants removed");
  return rules.length;
}

/** Routes with our protocol number, but for those of pods, which their attachments own. */
async function ownRoutes(kernel: Kernel): Promise<Route[]> {
  const [routes, links] = await Promise.all([kernel.node.routes(), kernel.node.links()]);
  const podLinks = new Set(links.filter(({ name }) => name.startsWith(hostLinkPrefix)).map(({ index }) => index));
  return routes.filter(({ protocol, link }) => protocol === routeProtocol && !podLinks.has(link ?? -1));
}

async function syncSysctls(kernel: Kernel, plan: HostPlan, log: Log): Promise<number> {
  const wanted = { ...(await acceptRaWanted(kernel, plan)), ...hostSysctls(plan) };
  const keys = Object.keys(wanted);
  const held = await kernel.node.readSysctls(keys);
  const differing = Object.entries(wanted).filter(([, value], index) => held[index]?.trim() !== value);
  if (differing.length === 0) return 0;
  await kernel.node.writeSysctls(Object.fromEntries(differing));
  log.info({ sysctls: Object.fromEntries(differing) }, "node settings changed");
  return differing.length;
}

/** A forwarding kernel learns routes by advertisements only where this says 2; an uplink that never learned is left so. */
async function acceptRaWanted(kernel: Kernel, { blocks, uplinkName }: HostPlan): Promise<Record<string, string>> {
  if (!hasFamily(blocks, 6)) return {};
  const key = `ipv6/conf/${uplinkName}/accept_ra`;
  const [held] = await kernel.node.readSysctls([key]);
  return held?.trim() === "1" ? { [key]: "2" } : {};
}

function hasFamily(blocks: readonly Cidr[], family: 4 | 6): boolean {
  return blocks.some((block) => cidrFamily(block) === family);
}

function sameRoute(want: Route, have: Route): boolean {
  return (
    want.to === have.to &&
    want.via === have.via &&
    (want.type ?? "unicast") === (have.type ?? "unicast") &&
    (want.metric === undefined || want.metric === have.metric)
  );
}
