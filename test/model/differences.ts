// What a machine holds at the end of a run, against what the model says is attached: nothing more, nothing less.

import type { Pool } from "../../src/ipam/pool.ts";
import type { Store } from "../../src/ipam/store.ts";
import { type Kernel, type Link, type Netns, routeProtocol } from "../../src/kernel/contract.ts";
import type { Model } from "./model.ts";

interface Looked {
  kernel: Kernel;
  pathOf(name: string): string;
}

/** Every difference in words; none where all is well. */
export async function findDifferences(
  { kernel, pathOf }: Looked,
  store: Store,
  model: Model,
  pool: Pool,
): Promise<string[]> {
  const attached = model.attached();
  const living = attached.filter(([, { vanished }]) => !vanished);
  const addresses = (of: typeof attached): string[] => of.flatMap(([, sandbox]) => sandbox.addresses).toSorted();
  const links = (await kernel.node.links()).filter(({ name }) => name.startsWith("fl"));
  const routes = (await kernel.node.routes()).filter(({ protocol }) => protocol === routeProtocol);
  const neighbours = (await kernel.node.neighbours()).filter(({ link }) => links.some(({ index }) => index === link));
  const guard = await kernel.guard.list();
  const { attachments, cooling } = store.read();
  return [
    ...compare(
      "links",
      links.map(ownerOf),
      living.map(([id]) => id),
    ),
    ...links
      .filter(({ up, group }) => !up || group !== 100)
      .map(({ name, group }) => `${name} is down, or in group ${group}`),
    ...compare(
      "routes",
      routes.map(({ to }) => to.slice(0, to.indexOf("/"))),
      addresses(living),
    ),
    ...compare(
      "neighbours",
      neighbours.map(({ address }) => address),
      addresses(living),
    ),
    ...compare(
      "guard",
      (guard ?? []).map(({ address }) => address),
      addresses(attached),
    ),
    ...compare(
      "state file",
      attachments.map(({ attachment }) => attachment.containerId),
      attached.map(([id]) => id),
    ),
    ...attachments
      .filter(({ state }) => state !== "ready")
      .map(({ attachment }) => `${attachment.containerId} is not ready`),
    ...compare(
      "leases",
      attachments.flatMap(({ attachment }) => attachment.addresses),
      addresses(attached),
    ),
    ...cooling
      .filter(({ address }) => addresses(attached).includes(address))
      .map(({ address }) => `${address} cools and is in use`),
    ...pool.dead().map((address) => `${address} was not cleaned up after`),
    ...(await podDifferences(living, kernel, pathOf)),
  ];
}

/** The container id in the alias of a link. */
function ownerOf({ alias, name }: Link): string {
  return alias.split("/")[1] ?? `stray ${name}`;
}

function compare(what: string, held: readonly string[], wanted: readonly string[]): string[] {
  return [
    ...wanted.filter((one) => !held.includes(one)).map((one) => `${what}: ${one} is missing`),
    ...held.filter((one) => !wanted.includes(one)).map((one) => `${what}: ${one} is left over`),
    ...held.filter((one, index) => held.indexOf(one) !== index).map((one) => `${what}: ${one} is there twice`),
  ];
}

async function podDifferences(
  living: ReturnType<Model["attached"]>,
  kernel: Kernel,
  pathOf: Looked["pathOf"],
): Promise<string[]> {
  const problems: string[] = [];
  for (const [id, { addresses }] of living) {
    const netns = kernel.openNetns(pathOf(id));
    try {
      problems.push(...(await onePod(id, addresses, netns)));
    } finally {
      netns.close();
    }
  }
  return problems;
}

async function onePod(id: string, addresses: readonly string[], netns: Netns): Promise<string[]> {
  const link = await netns.link("eth0");
  if (link === undefined) return [`${id} has no eth0`];
  const held = (await netns.addresses()).filter((entry) => entry.link === link.index && entry.scope === "global");
  return [
    ...(link.up && link.running ? [] : [`eth0 of ${id} is down`]),
    ...compare(
      `addresses of ${id}`,
      held.map(({ address }) => address),
      addresses,
    ),
  ];
}
