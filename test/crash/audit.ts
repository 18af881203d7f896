// What a node holds for pods, read by plain tools, against what a test has attached: nothing more, nothing less.

import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { promisify } from "node:util";
import type { AgentConfig } from "../../src/agent/config.ts";
import { releasesDirectory } from "../../src/agent/releases.ts";
import { type NodeStatus, statusSocket } from "../../src/agent/status.ts";
import { askAgent } from "../../src/cli/agent-client.ts";
import { present } from "../../src/base/assert.ts";
import { cidrContains } from "../../src/net/cidr.ts";
import { type Ip, ipFamily, parseIp } from "../../src/net/ip.ts";
import { routeProtocol } from "../../src/kernel/contract.ts";
import { until } from "../until.ts";
import type { Json, Reader } from "./reader.ts";

const run = promisify(execFile);
const runWaitMs = 20_000;

export interface Audited {
  /** The node's namespace: its name, and what reads it. */
  node: string;
  reader: Reader;
  /** Every other namespace that is there, by the container it belongs to. */
  pods: ReadonlyMap<string, Reader>;
  config: AgentConfig;
  /** What is attached, in the runtime's own record. */
  attached: readonly Attached[];
}

export interface Attached {
  containerId: string;
  addresses: readonly string[];
}

/** Gives every difference in words once those that pass by themselves have passed: links to be removed, release files. */
export async function auditNode(audited: Audited): Promise<string[]> {
  let found: string[] = [];
  try {
    await until("the node holds what it should", async () => {
      found = await differences(audited);
      return found.length === 0;
    });
  } catch (error) {
    if (found.length === 0) throw error;
  }
  return found;
}

/** Looks step by step: what only passing time can mend is found at the first, which costs least. */
async function differences(audited: Audited): Promise<string[]> {
  const steps = [compareNetwork, compareAgent, compareGuard, compareFlows];
  for (const step of steps) {
    const found = await step(audited);
    if (found.length > 0) return found;
  }
  return [];
}

async function compareNetwork({ reader, pods, config, attached }: Audited): Promise<string[]> {
  const wanted = attached.flatMap(({ addresses }) => addresses);
  const links = await ownLinks(reader);
  const linkProblems = [
    ...compare(
      "links",
      links.map(ownerOf),
      attached.map(({ containerId }) => containerId),
    ),
    ...links.filter((link) => !serves(link)).map((link) => `${String(link["ifname"])} is down or in another group`),
  ];
  if (linkProblems.length > 0) return linkProblems;
  const routes = await reader.ask(`route show table all proto ${routeProtocol}`);
  const neighbours = await reader.ask("neighbour show nud permanent");
  const nodeRoutes = routes.filter(({ dev }) => !isOurs(dev));
  const podProblems = await Promise.all([...pods].map(([id, pod]) => comparePod(id, pod, attached)));
  return [
    ...compare("routes", routes.filter(({ dev }) => isOurs(dev)).map(destination), wanted),
    ...compare("node routes", nodeRoutes.map(destination), config.addresses.blocks),
    ...compare("neighbours", neighbours.filter(({ dev }) => isOurs(dev)).map(destination), wanted),
    ...podProblems.flat(),
  ];
}

/** Links of ours on a node. */
export async function ownLinks(reader: Reader): Promise<Json[]> {
  return (await reader.ask("link show")).filter(({ ifname }) => isOurs(ifname));
}

const isOurs = (name: unknown): boolean => String(name).startsWith("fl");
const destination = ({ dst }: Json): string => String(dst);

function compare(what: string, held: readonly string[], wanted: readonly string[]): string[] {
  return [
    ...wanted.filter((one) => !held.includes(one)).map((one) => `${what}: ${one} is missing`),
    ...held.filter((one) => !wanted.includes(one)).map((one) => `${what}: ${one} is left over`),
    ...held.filter((one, index) => held.indexOf(one) !== index).map((one) => `${what}: ${one} is there twice`),
  ];
}

/** The container id in the alias of a link. */
function ownerOf({ ifalias, ifname }: Json): string {
  return String(ifalias).split("/")[1] ?? `stray ${String(ifname)}`;
}

function serves({ flags, group }: Json): boolean {
  return String(group) === "100" && Array.isArray(flags) && flags.includes("LOWER_UP");
}

/** The source guard lets exactly the attached addresses pass. */
async function compareGuard({ node, attached }: Audited): Promise<string[]> {
  const { stdout } = await inside(node, "nft", "-j", "list", "table", "inet", "fairlead");
  const { nftables } = JSON.parse(stdout) as { nftables: { set?: { elem?: { concat: string[] }[] } }[] };
  const held = nftables.flatMap(({ set }) => (set?.elem ?? []).map(({ concat }) => concat[1] ?? ""));
  return compare(
    "guard",
    held,
    attached.flatMap(({ addresses }) => addresses),
  );
}

/** No connection of this node's blocks is tracked that no attached pod has part in; and some are, or the look is blind. */
async function compareFlows({ node, reader, attached, config }: Audited): Promise<string[]> {
  const living = new Set<string>(attached.flatMap(({ addresses }) => addresses));
  const isOurs = (address: Ip): boolean => config.addresses.blocks.some((block) => cidrContains(block, address));
  const table = reader.connections() ?? (await inside(node, "conntrack", "-L")).stdout;
  const ends = [...table.matchAll(/\b(?:src|dst)=(\S+)/g)].map(([, text = ""]) => present(parseIp(text), text));
  const families = new Set(ends.filter((address) => living.has(address)).map(ipFamily));
  return [
    ...ends
      .filter((address) => isOurs(address) && !living.has(address))
      .map((address) => `a connection of ${address} is still tracked`),
    ...(attached.length > 0 && families.size < 2 ? ["no connection of a living pod is tracked"] : []),
  ];
}

interface AgentPod {
  containerId: string;
  state: string;
  addresses: string[];
}

/** The agent's own story, by its status socket, and the release files that it has yet to apply. */
async function compareAgent({ config, attached }: Audited): Promise<string[]> {
  const socket = statusSocket(config.paths.socket);
  const pods = (await askAgent(socket, "/pods")) as AgentPod[];
  const { addresses } = (await askAgent(socket, "/status")) as NodeStatus;
  return [
    ...compare(
      "agent",
      pods.map(({ containerId, state }) => `${containerId} ${state}`),
      attached.map(({ containerId }) => `${containerId} ready`),
    ),
    ...compare(
      "leases",
      pods.flatMap((pod) => pod.addresses),
      attached.flatMap((pod) => pod.addresses),
    ),
    ...addresses
      .filter(({ live }) => live !== attached.length)
      .map(({ family, live }) => `${live} IPv${family} addresses are in use, ${attached.length} should be`),
    ...compare("release files", releaseFiles(config), []),
  ];
}

/** A pod has its interface with its addresses, and any other namespace none. */
async function comparePod(id: string, pod: Reader, attached: readonly Attached[]): Promise<string[]> {
  const own = attached.find(({ containerId }) => containerId === id);
  const links = (await pod.ask("address show")).filter(({ ifname }) => ifname !== "lo");
  if (own === undefined) return links.map(({ ifname }) => `${String(ifname)} is left over in ${id}`);
  const [link, ...rest] = links;
  if (link === undefined || rest.length > 0) return [`${id} has ${links.length} interfaces`];
  const addresses = (link["addr_info"] as Json[]).filter(({ scope }) => scope === "0").map(({ local }) => String(local));
  return compare(`addresses of ${id}`, addresses, own.addresses);
}

function releaseFiles({ paths }: AgentConfig): string[] {
  const directory = releasesDirectory(paths.socket);
  return existsSync(directory) ? readdirSync(directory) : [];
}

function inside(netns: string, ...command: string[]): Promise<{ stdout: string }> {
  return run("ip", ["netns", "exec", netns, ...command], { timeout: runWaitMs });
}
