// The chains that judge forwarded packets, of every table: what else a pod's packet has to pass on this node.

import type { ForwardChain } from "../contract.ts";
import type { Channel } from "./channel.ts";
import { forwardFamilies, hooks, policyAccept } from "./constants.ts";
import { chainAttributes, chainsQuestion } from "./messages.ts";

/** Reads them; three questions, so that a table that comes meanwhile may be missing. Faults as `Channel.dump`. */
export async function readForwardChains(channel: Channel): Promise<ForwardChain[]> {
  const found: ForwardChain[] = [];
  for (const family of ["inet", "ip", "ip6"] as const) {
    const question = chainsQuestion(forwardFamilies[family]);
    const chains = await channel.dump(`read the ${family} chains`, question, chainAttributes);
    for (const { table = "", name = "", hook, policy } of chains) {
      if (hook?.number !== hooks.forward) continue;
      found.push({ family, table, chain: name, policy: policy === policyAccept ? "accept" : "drop" });
    }
  }
  return found;
}
