// Names of pods on other nodes: what the node whose block an address is of has published, asked for when a flow names it.

import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { keepNewest } from "../../base/newest.ts";
import type { Kube } from "../../kube/contract.ts";
import { nodeEndpoints } from "../../kube/objects.ts";
import type { Ip } from "../../net/ip.ts";

/** How long what a node has published counts, and how soon it is asked for again. */
export const publishedForMs = 10_000;
/** How long it counts where the node cannot be asked at once. No longer than an address rests before another pod gets it. */
const lastWordForMs = 60_000;
/** Questions on their way at once, and how far they lie apart; what comes meanwhile goes without a name. */
const asksMax = 4;
export const askEveryMs = 250;
/** Nodes of which something is kept; the one asked longest ago goes first. */
const nodesMax = 256;

export interface NamesDeps {
  kube: Pick<Kube, "get">;
  /** The other node whose block has the address, by name. */
  nodeOf: (address: Ip) => string | undefined;
  log: Log;
  signal: AbortSignal;
  /** Milliseconds that only go forward. */
  clock: () => number;
}

/** What a node had published when it was asked for. */
interface Published {
  atMs: number;
  pods: Promise<ReadonlyMap<Ip, string>>;
}

/**
 * Gives a function that settles with "namespace/name" of the pod that has an address on another node; undefined where it is no pod's, or
 * not known in time. It never rejects.
 */
export function createNames({
  kube,
  nodeOf,
  log,
  signal,
  clock,
}: NamesDeps): (address: Ip) => Promise<string | undefined> {
  const published = new Map<string, Published>();
  let asking = 0;
  let askedMs = -Infinity;

  async function ask(node: string): Promise<ReadonlyMap<Ip, string>> {
    asking += 1;
    try {
      const { endpoints } = await kube.get(nodeEndpoints, { name: node }, { signal });
      return new Map(
        endpoints.flatMap(({ namespace, name, addresses }) =>
          addresses.map((address) => [address, `${namespace}/${name}`] as const),
        ),
      );
    } catch (error) {
      log.debug({ node, error: describe(error) }, "flows to pods of that node are told without names");
      return new Map();
    } finally {
      asking -= 1;
    }
  }

  return async (address) => {
    const node = nodeOf(address);
    if (node === undefined) return undefined;
    const nowMs = clock();
    const known = published.get(node);
    if (known !== undefined && nowMs - known.atMs < publishedForMs) return (await known.pods).get(address);
    if (asking >= asksMax || nowMs - askedMs < askEveryMs) {
      const isYoung = known !== undefined && nowMs - known.atMs < lastWordForMs;
      return isYoung ? (await known.pods).get(address) : undefined;
    }
    askedMs = nowMs;
    const asked = { atMs: nowMs, pods: ask(node) };
    keepNewest(published, node, asked, nodesMax);
    return (await asked.pods).get(address);
  };
}
