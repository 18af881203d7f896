// CHECK: compares what ADD made with what the kernel and the store hold now, and names everything that differs.

import { describe, Fault, isFault } from "../base/fault.ts";
import type { AttachmentResult, CniRequest } from "../cni/types.ts";
import type { Pool } from "../ipam/pool.ts";
import { attachmentKey, isWired, type Wired } from "../ipam/store.ts";
import type { GuardEntry, Kernel, Link, Netns, Route, Rule } from "../kernel/contract.ts";
import { cidrFamily, hostCidr } from "../net/cidr.ts";
import { attachmentIdOf } from "./attach.ts";
import { callDelegate, delegateOf } from "./delegate.ts";
import { anySource, guardEntries, hostRoutes, localTable, podNeighbours, podRoutes, podSourceRules } from "./plan.ts";
import type { PodPolicy } from "./policy/pod-policy.ts";
import type { Uplink } from "./uplink.ts";

export interface CheckDeps {
  kernel: Kernel;
  pool: Pool;
  uplink: () => Uplink;
  policy: Pick<PodPolicy, "groupOf" | "isUnguarded" | "settle">;
}

/** RT_TABLE_MAIN. */
const mainTable = 254;
/** Problems named in one message; the rest is counted. */
const problemsShownMax = 10;

/**
 * Compares links, addresses, routes, neighbours, guard and lease of one attachment.
 * @throws Fault "check-failed" that names each difference; "netns-missing" where the namespace is gone.
 */
export async function check(request: CniRequest, deps: CheckDeps): Promise<void> {
  const { kernel, pool } = deps;
  const id = attachmentIdOf(request);
  const stored = pool.find(id);
  if (stored === undefined || stored.state !== "ready" || stored.leaving) {
    throw new Fault(
      "check-failed",
      `no attachment ${attachmentKey(id)} is known on this node: its address is not reserved`,
    );
  }
  const { attachment } = stored;
  if (!isWired(attachment)) {
    throw new Fault(
      "check-failed",
      `the interface of ${attachmentKey(id)} is another plugin's; only its addresses are ours`,
    );
  }
  if (request.delegate !== undefined) await callDelegate("CHECK", delegateOf(request, request.delegate));
  const netns = openPodNetns(request.netns ?? attachment.netnsPath, kernel);
  try {
    const look = async (): Promise<string[]> => [
      ...previousProblems(request.prevResult, attachment),
      ...(await podProblems(attachment, netns)),
      ...(await hostProblems(attachment, deps)),
      ...(await guardProblems(attachment, deps)),
    ];
    if ((await look()).length === 0) return;
    // Policy may be on its way from one class to the next.
    const unsettled = await deps.policy.settle(attachment).then(
      () => [],
      (error: unknown) => [`policy could not be settled: ${describe(error)}`],
    );
    const problems = await look();
    if (problems.length > 0) throw checkFailed(attachment, [...problems, ...unsettled]);
  } finally {
    netns.close();
  }
}

function openPodNetns(path: string, kernel: Kernel): Netns {
  try {
    return kernel.openNetns(path);
  } catch (error) {
    if (isFault(error, "netns-missing"))
      throw new Fault("check-failed", `the pod's namespace ${path} is gone`, { cause: error });
    throw error;
  }
}

/** What the runtime believes it was given must still be what we gave; a later plugin may have added to it. */
function previousProblems(prevResult: AttachmentResult | undefined, attachment: Wired): string[] {
  const claimed = new Set(prevResult?.ips.map(({ address }) => address));
  return attachment.addresses
    .filter((address) => !claimed.has(address))
    .map((address) => `prevResult does not list ${address}, which this attachment holds`);
}

async function podProblems(attachment: Wired, netns: Netns): Promise<string[]> {
  const [link, addresses, routes, neighbours, rules] = await Promise.all([
    netns.link(attachment.ifname),
    netns.addresses(),
    netns.routes(),
    netns.neighbours(),
    netns.rules(),
  ]);
  if (link === undefined) return [`interface ${attachment.ifname} is missing in the pod`];
  const where = `${attachment.ifname} in the pod`;
  return [
    // A later plugin may have made packets of the pod smaller.
    ...linkProblems(link, { where, mac: attachment.wire.podMac, mtu: Math.min(attachment.wire.mtu, link.mtu) }),
    ...attachment.addresses.flatMap((wanted) => {
      const held = addresses.find(({ link: on, address }) => on === link.index && address === wanted);
      if (held === undefined) return [`address ${wanted} is missing on ${where}`];
      return held.tentative ? [`address ${wanted} on ${where} is tentative`] : [];
    }),
    // A later plugin (source-based routing) may have moved them to a table of its own.
    ...routeProblems(podRoutes(attachment), routes, "in the pod"),
    ...localRouteProblems(attachment, routes),
    ...sourceRuleProblems(attachment, routes, rules),
    ...podNeighbours(attachment).flatMap((address) =>
      neighbours.some((entry) => entry.address === address && entry.mac === attachment.wire.hostMac && entry.permanent)
        ? []
        : [`the permanent neighbour ${address} is missing on ${where}`],
    ),
  ];
}

async function hostProblems(attachment: Wired, { kernel, uplink, policy }: CheckDeps): Promise<string[]> {
  const [link, routes, neighbours] = await Promise.all([
    kernel.node.link(attachment.wire.hostLink),
    kernel.node.routes(),
    kernel.node.neighbours(),
  ]);
  if (link === undefined) return [`host link ${attachment.wire.hostLink} is missing on the node`];
  const where = `${attachment.wire.hostLink} on the node`;
  const group = policy.groupOf(attachment);
  return [
    ...linkProblems(link, { where, mac: attachment.wire.hostMac, mtu: attachment.wire.mtu }),
    ...(group === undefined || link.group === group ? [] : [`link group of ${where} is ${link.group}, not ${group}`]),
    ...routeProblems(
      hostRoutes(attachment, uplink().addresses),
      routes.filter(({ table = mainTable }) => table === mainTable),
      "on the node",
    ),
    ...attachment.addresses.flatMap((address) =>
      neighbours.some((entry) => entry.address === address && entry.mac === attachment.wire.podMac && entry.permanent)
        ? []
        : [`the permanent neighbour ${address} is missing on ${where}`],
    ),
  ];
}

async function guardProblems(attachment: Wired, { kernel, policy }: CheckDeps): Promise<string[]> {
  const held = await kernel.guard.list();
  if (held === undefined) return ["the source guard table is missing on the node"];
  const lists = ({ link, address }: GuardEntry): boolean =>
    held.some((entry) => entry.link === link && entry.address === address);
  const missing = guardEntries(attachment).filter((entry) => !lists(entry));
  const said = policy.isUnguarded(attachment);
  const { hostLink } = attachment.wire;
  const isOpen = lists(anySource(hostLink));
  return [
    ...missing.map(({ link, address }) => `the source guard does not list ${address} for ${link}`),
    ...(said === true && !isOpen ? [`the source guard does not let ${hostLink} send from any address`] : []),
    ...(said === false && isOpen ? [`the source guard lets ${hostLink} send from any address`] : []),
  ];
}

function linkProblems(link: Link, { where, mac, mtu }: { where: string; mac: string; mtu: number }): string[] {
  return [
    ...(link.up ? [] : [`${where} is down`]),
    ...(link.up && !link.running ? [`the other end of ${where} is down or gone`] : []),
    ...(link.mac === mac ? [] : [`hardware address of ${where} is ${link.mac ?? "none"}, not ${mac}`]),
    ...(link.mtu === mtu ? [] : [`MTU of ${where} is ${link.mtu}, not ${mtu}`]),
  ];
}

function routeProblems(wanted: readonly Route[], held: readonly Route[], where: string): string[] {
  return wanted.flatMap((want) => {
    const same = held.filter((route) => route.to === want.to && route.link === want.link);
    if (same.some((route) => route.via === want.via)) return [];
    const via = want.via === undefined ? "" : ` via ${want.via}`;
    return [`route ${want.to}${via} is missing ${where}`];
  });
}

/** What makes an address the pod's own: the kernel's route, or for IPv6 the one that ADD made. Without any the pod does not answer at it. */
function localRouteProblems({ addresses }: Wired, routes: readonly Route[]): string[] {
  const own = new Set(routes.filter(({ type, table }) => type === "local" && table === localTable).map(({ to }) => to));
  return addresses.flatMap((address) =>
    own.has(hostCidr(address)) ? [] : [`the local route of ${address} is missing in the pod`],
  );
}

/** A second interface is known by its routes, which rank behind those of the first. */
function sourceRuleProblems(attachment: Wired, routes: readonly Route[], rules: readonly Rule[]): string[] {
  const { podIndex } = attachment.wire;
  return podSourceRules(attachment)
    .filter(({ family }) =>
      routes.some(({ to, link, metric }) => link === podIndex && metric === podIndex && cidrFamily(to) === family),
    )
    .filter(({ from, table }) => !rules.some((held) => held.from === from && held.table === table))
    .map(({ from, table }) => `the rule from ${from} to table ${table} is missing in the pod`);
}

function checkFailed(attachment: Wired, problems: readonly string[]): Fault {
  const shown = problems.slice(0, problemsShownMax).join("; ");
  const more = problems.length > problemsShownMax ? `; and ${problems.length - problemsShownMax} more` : "";
  return new Fault("check-failed", `attachment ${attachmentKey(attachment)}: ${shown}${more}`, { data: { problems } });
}
