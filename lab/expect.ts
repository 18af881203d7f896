// Expectations of a scenario: each looks at the running cluster and tells what is not as expected.

import { present, unreachable } from "../src/base/assert.ts";
import { describe } from "../src/base/fault.ts";
import { cidrBase, cidrContains } from "../src/net/cidr.ts";
import { type Ip, ipFamily, parseIp } from "../src/net/ip.ts";
import type { Expectation, Pairs } from "./actions.ts";
import { auditLabNodes } from "./audit/lab-node.ts";
import type { Cluster } from "./cluster.ts";
import type { Outcome } from "./held.ts";
import type { Addresses, NodeLayout } from "./layout.ts";
import { globalAddresses, links, neighbours, nftAddresses, routes } from "./look.ts";
import { type Attempt, attempt, type Endpoint, type Wish } from "./probing.ts";
import { readSandboxes } from "./runtime.ts";
import { lookAtTold } from "./told.ts";
import { explain, lookAtFlows } from "./truth-table.ts";
import { all } from "./waiting.ts";

export interface Verdict {
  /** What was seen instead, one line each; empty where all is as expected. */
  problems: string[];
  /** Exchanges that were tried: one protocol, one family, one direction each. */
  probes: number;
  /** What was done to find out, for people. */
  how: string;
  /** A command and what it printed, where people should see that. */
  shown?: string;
}

/** Product links on a node begin so. */
const hostLinkPrefix = "fl";

/** A try that should succeed gets this long; one that should fail less (lab/probe-tries.ts): nothing answers it. */
const reachTimeout = { timeoutMs: 5_000 };

/** Looks once. @throws Fault "lab-failed" only where it cannot look at all. */
export async function look(cluster: Cluster, expectation: Expectation): Promise<Verdict> {
  switch (expectation.expect) {
    case "reach":
      return reach(cluster, expectation);
    case "shared localhost":
      return sharedLocalhost(cluster, expectation.containers);
    case "untouched":
      return untouched(cluster, expectation.pod);
    case "own addresses":
      return quiet(await ownAddresses(cluster), "eth0 against the plugin's answer and the node's block");
    case "other addresses":
      return quiet(otherAddresses(cluster, expectation.pod), "compared with the addresses of earlier sandboxes");
    case "failing check":
      return quiet(await failingCheck(cluster, expectation.pod, expectation.words), "CHECK, as a runtime sends it");
    case "failing pod":
      return quiet(await failingPod(cluster, expectation), "ADD, as a runtime sends it");
    case "exact nodes":
      return quiet(
        await auditLabNodes([...cluster.nodes.values()], { env: cluster.lab.env }),
        "everything of ours on nodes and in pods, against the runtime's list",
      );
    case "known pods":
      return quiet(await knownPods(cluster), "every NodeEndpoints object against the runtimes' lists");
    case "failing apply":
      return quiet(await failingApply(cluster, expectation), "applied as by an administrator");
    case "enforced group":
      return quiet(await enforcedGroup(cluster, expectation), "its status, as the API server has it");
    case "flows":
      return lookAtFlows(cluster, expectation.as);
    case "explained flow":
      return explainedFlow(cluster, expectation);
    case "told denial":
      return quiet(await toldDenial(cluster, expectation), "fairlead flows, as an operator on the node");
    case "held connection":
      return { ...(await heldConnection(cluster, expectation)), probes: 0 };
    case "nothing left":
      return quiet(
        await nothingLeft(cluster, cluster.node(expectation.node).layout),
        "its links, routes, neighbours and nftables read",
      );
    default:
      return unreachable(expectation, "expectation");
  }
}

/** Every pod that a node runs stands in its NodeEndpoints, with its uid and addresses, and nothing else does. */
async function knownPods({ kubernetes, nodes }: Cluster): Promise<string[]> {
  const found = await all(
    [...nodes.values()].map(async ({ layout: { name, directory } }) => {
      const published = (await kubernetes?.published(name)) ?? [];
      const line = (namespace: string, pod: string, uid: string, addresses: readonly string[]): string =>
        `${namespace}/${pod} (${uid}) ${addresses.toSorted().join(" ")}`;
      const told = published.map(({ namespace, pod, uid, addresses }) => line(namespace, pod, uid, addresses));
      const runs = readSandboxes(directory).flatMap(({ namespace, pod, uid, result }) =>
        result === undefined ? [] : [line(namespace, pod, uid, Object.values(result.addresses))],
      );
      return [
        ...runs.filter((one) => !told.includes(one)).map((one) => `${name}: ${one} runs and is not published`),
        ...told.filter((one) => !runs.includes(one)).map((one) => `${name}: ${one} is published and does not run`),
      ];
    }),
  );
  return found.flat();
}

function quiet(problems: string[], how: string): Verdict {
  return { problems, probes: 0, how };
}

type Reach = Extract<Expectation, { expect: "reach" }>;

async function reach(cluster: Cluster, wanted: Reach): Promise<Verdict> {
  const { pairs, protocols, families, port, ownAddress, seenAs, not } = wanted;
  const wished = families.filter((family) => cluster.layout.families.includes(family));
  const wishes = choosePairs(cluster, pairs).flatMap(([from, to]) =>
    wished.flatMap((family) =>
      protocols.map((proto): Wish => ({
        from,
        to,
        family,
        proto,
        silent: not,
        ...(port === undefined ? {} : { port }),
      })),
    ),
  );
  if (wishes.length === 0)
    return quiet(["there is nothing to try: no such pair, or a family that this cluster does not have"], "");
  const attempts = await attempt(cluster.lab, wishes, reachTimeout);
  const problem = not
    ? unwanted
    : (one: Attempt) =>
        failed(one, ownAddress ? one.from : seenAs === undefined ? undefined : cluster.endpoint(seenAs));
  const count = wishes.length / wished.length / protocols.length;
  const exchanges = `${count} pair${count === 1 ? "" : "s"} by ${protocols.join(", ")} over ${wished.map((family) => `v${family}`).join(", ")}`;
  return {
    problems: attempts.flatMap((one) => problem(one) ?? []),
    probes: attempts.length,
    how: ownAddress || seenAs !== undefined ? `${exchanges}; the target tells who called` : exchanges,
  };
}

function choosePairs(cluster: Cluster, pairs: Pairs): [Endpoint, Endpoint][] {
  if (typeof pairs === "object") return [[cluster.endpoint(pairs.from), cluster.endpoint(pairs.to)]];
  const pods = [...cluster.pods.values()];
  const nodes = [...cluster.nodes.keys()].map((name) => cluster.endpoint(name));
  if (pairs === "pods to pods")
    return pods.flatMap((from) => pods.flatMap((to): [Endpoint, Endpoint][] => (from === to ? [] : [[from, to]])));
  if (pairs === "pods to nodes") return pods.flatMap((from) => nodes.map((to): [Endpoint, Endpoint] => [from, to]));
  return pods.map((pod) => [cluster.endpoint(pod.node.layout.name), pod]);
}

/** What is wrong with a try that should have succeeded. */
function failed({ from, to, family, proto, result }: Attempt, seenAs?: Endpoint): string | undefined {
  const what = `${from.name} -> ${to.name}, ${proto} over v${family}`;
  if (!result.ok) return `${what}: ${result.error ?? "failed"}`;
  if (proto === "icmp") return undefined; // an echo reply names nobody
  if (result.name !== to.name) return `${what}: ${result.name ?? "nobody"} answered`;
  const expected = seenAs?.addresses[family];
  if (seenAs !== undefined && result.seenFrom !== expected)
    return `${what}: seen from ${result.seenFrom ?? "nowhere"}, the address of ${seenAs.name} is ${expected}`;
  return undefined;
}

function unwanted({ from, to, family, proto, result }: Attempt): string | undefined {
  return result.ok ? `${from.name} -> ${to.name}, ${proto} over v${family}: it does reach it` : undefined;
}

/** Each finds the other's loopback-only server at the loopback address; from the node that server cannot be reached by the pod's address. */
async function sharedLocalhost(cluster: Cluster, names: readonly [string, string]): Promise<Verdict> {
  const [a, b] = [cluster.endpoint(names[0]), cluster.endpoint(names[1])];
  if (a.netns !== b.netns) return quiet([`${a.name} and ${b.name} are in different namespaces`], "");
  const protocols = ["tcp", "udp"] as const;
  const inside = (
    [
      [a, b],
      [b, a],
    ] as const
  ).flatMap(([from, to]) =>
    ([4, 6] as const).flatMap((family) => protocols.map((proto): Wish => ({ from, to, family, proto, local: true }))),
  );
  const node = [...cluster.pods.values()].find(({ netns }) => netns === a.netns)?.node.layout;
  const outside = cluster.layout.families.flatMap((family) =>
    node === undefined
      ? []
      : protocols.map((proto): Wish => ({
          from: cluster.endpoint(node.name),
          to: { ...a, port: a.localPort },
          family,
          proto,
          silent: true,
        })),
  );
  const [tried, refused] = await all([
    attempt(cluster.lab, inside, reachTimeout),
    attempt(cluster.lab, outside, reachTimeout),
  ]);
  const problems = [...tried.map((one) => failed(one)), ...refused.map(unwanted)];
  return {
    problems: problems.flatMap((problem) => problem ?? []),
    probes: inside.length + outside.length,
    how: "each finds the other on 127.0.0.1 and ::1, the node does not",
  };
}

async function untouched(cluster: Cluster, name: string): Promise<Verdict> {
  const pod = cluster.pod(name);
  const { layout, runtime } = pod.node;
  const problems: string[] = [];
  if (runtime.calls().some((call) => call.pod === name)) problems.push(`the plugin was called for ${name}`);
  problems.push(
    ...differences(
      `eth0 of ${layout.name}`,
      layout.addresses,
      await globalAddresses(cluster.lab, layout.netns, "eth0"),
    ),
  );
  // A link for this pod would have both ends in the node's namespace: nothing else would hold the far end.
  for (const link of await links(cluster.lab, layout.netns)) {
    if (link.name.startsWith(hostLinkPrefix) && !link.peerElsewhere)
      problems.push(`link ${link.name} leads to the node itself`);
  }
  const answered = await reach(cluster, {
    expect: "reach",
    pairs: { from: layout.name, to: name },
    protocols: ["tcp"],
    families: [4, 6],
    ownAddress: true,
    not: false,
  });
  return {
    problems: [...problems, ...answered.problems],
    probes: answered.probes,
    how: "log of plugin calls, links and addresses of the node",
  };
}

async function ownAddresses(cluster: Cluster): Promise<string[]> {
  const pods = [...cluster.pods.values()].filter((pod) => !pod.hostNetwork);
  const owners = new Map<Ip, string>();
  const seen = await all(
    pods.map(async (pod) => ({ pod, addresses: await globalAddresses(cluster.lab, pod.netns, "eth0") })),
  );
  return seen.flatMap(({ pod, addresses }) => {
    const problems = differences(`eth0 of ${pod.name}`, pod.addresses, addresses);
    for (const family of cluster.layout.families) {
      const address = pod.addresses[family];
      const block = pod.node.layout.blocks[family];
      if (address === undefined || block === undefined) problems.push(`${pod.name} has no IPv${family} address`);
      else if (!cidrContains(block, address))
        problems.push(`${pod.name} has ${address}, outside its node's block ${block}`);
    }
    for (const address of addresses) {
      const owner = owners.get(address);
      if (owner !== undefined) problems.push(`${pod.name} and ${owner} both have ${address}`);
      owners.set(address, pod.name);
    }
    return problems;
  });
}

/** Compares what was promised with what the kernel holds. */
function differences(where: string, promised: Addresses, seen: readonly Ip[]): string[] {
  const wanted = Object.values(promised);
  return [
    ...wanted.filter((address) => !seen.includes(address)).map((address) => `${address} is not usable on ${where}`),
    ...seen
      .filter((address) => !wanted.includes(address))
      .map((address) => `${address} is on ${where} but was never promised`),
  ];
}

function otherAddresses(cluster: Cluster, name: string): string[] {
  const sandboxes = cluster.former.filter(({ sandbox }) => sandbox.pod === name);
  const earlier = new Set(sandboxes.flatMap(({ sandbox }) => Object.values(sandbox.result?.addresses ?? {})));
  return Object.values(cluster.pod(name).addresses)
    .filter((address) => earlier.has(address))
    .map((address) => `${name} has ${address}, as before`);
}

async function failingCheck(cluster: Cluster, name: string, words: string): Promise<string[]> {
  try {
    await cluster.pod(name).node.runtime.check(name);
    return ["CHECK found nothing wrong"];
  } catch (error) {
    const message = describe(error);
    return message.includes(cluster.expand(words, name)) ? [] : [message];
  }
}

type FailingPod = Extract<Expectation, { expect: "failing pod" }>;

async function failingPod(cluster: Cluster, { pod, node, words }: FailingPod): Promise<string[]> {
  const { runtime } = cluster.node(node);
  try {
    await runtime.add(pod);
  } catch (error) {
    const message = describe(error);
    return message.includes(words) ? [] : [message];
  }
  await runtime.del(pod);
  return [`${pod} did start on ${node}`];
}

type FailingApply = Extract<Expectation, { expect: "failing apply" }>;

async function failingApply({ kubernetes }: Cluster, { file, words }: FailingApply): Promise<string[]> {
  try {
    await present(kubernetes, "Kubernetes").applyFile(file);
  } catch (error) {
    const message = describe(error);
    return message.includes(words) ? [] : [message];
  }
  return [`${file} was accepted`];
}

/** As Fairlead's own words are asked and tell: a pod by "namespace/name" first, then addresses. */
function namesOf(cluster: Cluster, name: string): string[] {
  const pod = cluster.pods.get(name);
  const addresses = Object.values(cluster.endpoint(name).addresses);
  return pod === undefined ? addresses : [`${pod.namespace}/${pod.name}`, ...addresses];
}

type ExplainedFlow = Extract<Expectation, { expect: "explained flow" }>;

async function explainedFlow(cluster: Cluster, { pair, port, words }: ExplainedFlow): Promise<Verdict> {
  const [from = "", to = ""] = [pair.from, pair.to].map((name) => namesOf(cluster, name)[0]);
  const { command, text } = await explain(cluster, [from, to, `${port}/tcp`]);
  return { ...quiet(text.includes(words) ? [] : [text], command), shown: `$ ${command}\n\n${text}` };
}

type ToldDenial = Extract<Expectation, { expect: "told denial" }>;

function toldDenial(cluster: Cluster, { node, pair, object }: ToldDenial): Promise<string[]> {
  const { netns, directory } = cluster.node(node).layout;
  const told = { from: namesOf(cluster, pair.from), to: namesOf(cluster, pair.to), object };
  return lookAtTold(told, { env: cluster.lab.env, netns, directory });
}

type EnforcedGroup = Extract<Expectation, { expect: "enforced group" }>;

async function enforcedGroup({ kubernetes }: Cluster, { group, members, nodes }: EnforcedGroup): Promise<string[]> {
  const told = await present(kubernetes, "Kubernetes").groupStatus(group);
  const wanted = `${members} members, enforced on ${nodes} of ${nodes} nodes`;
  return told === wanted ? [] : [`group ${group} tells of ${told}, not of ${wanted}`];
}

type HeldConnection = Extract<Expectation, { expect: "held connection" }>;

function heldConnection({ held }: Cluster, wanted: HeldConnection): Promise<Outcome> {
  return wanted.is === "reset" ? held.isReset(wanted.pair, wanted.withinMs) : held.goesOn(wanted.pair);
}

async function nothingLeft({ lab, pods }: Cluster, node: NodeLayout): Promise<string[]> {
  const running = [...pods.values()].filter((pod) => pod.node.layout === node && !pod.hostNetwork);
  if (running.length > 0) return running.map(({ name }) => `pod ${name} still runs on ${node.name}`);
  const { netns } = node;
  const ofPods = (text: string): boolean => isPodAddress(text, node);
  return [
    ...(await links(lab, netns))
      .filter(({ name }) => name.startsWith(hostLinkPrefix))
      .map(({ name }) => `link ${name}`),
    ...(await routes(lab, netns))
      .filter(({ to, link }) => ofPods(to) || link.startsWith(hostLinkPrefix))
      .map(({ to, link }) => `route to ${to} by ${link}`),
    ...(await neighbours(lab, netns))
      .filter(({ to }) => ofPods(to))
      .map(({ to, link }) => `neighbour ${to} on ${link}`),
    ...(await nftAddresses(lab, netns)).filter(ofPods).map((address) => `${address} in the nftables ruleset`),
  ];
}

/** A single address in one of the node's blocks; the block itself, as a network or by its base, is the node's own affair. */
function isPodAddress(text: string, { blocks }: NodeLayout): boolean {
  const address = parseIp(text);
  const block = address === undefined ? undefined : blocks[ipFamily(address)];
  return address !== undefined && block !== undefined && cidrContains(block, address) && cidrBase(block) !== address;
}
