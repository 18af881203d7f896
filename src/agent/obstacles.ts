// What on this node stands in the way of pods' packets though nothing of ours is wrong: found, named, and told with the cure.

import type { Log } from "../base/log.ts";
import type { ForwardChain, Kernel } from "../kernel/contract.ts";

export interface Obstacle {
  what: string;
  cure: string;
}

/** Who makes tables of these names, as far as it can be told. */
const makers: Readonly<Record<string, string>> = {
  "ip filter": "iptables (Docker, ufw or a script)",
  "ip6 filter": "ip6tables (Docker, ufw or a script)",
  "inet firewalld": "firewalld",
};

/**
 * Chains that drop forwarded packets which none of their rules decides. A packet has to pass every chain of the hook: what
 * Fairlead accepts they can still drop. Rules that drop are not looked for; those are somebody's will.
 */
export function obstaclesIn(chains: readonly ForwardChain[]): Obstacle[] {
  return chains.flatMap((chain) => {
    const { family, table, chain: name, policy } = chain;
    const maker = makers[`${family} ${table}`];
    const by = maker === undefined ? "" : `, made by ${maker}`;
    // firewalld ends its chain with a reject of its own instead of a policy.
    if (family === "inet" && table === "firewalld") {
      return [
        {
          what: `firewalld rejects forwarded packets of links in none of its zones (chain ${name})`,
          cure: "firewall-cmd --permanent --zone=trusted --add-interface=fl+ && firewall-cmd --reload, or stop firewalld",
        },
      ];
    }
    if (policy === "accept") return [];
    return [
      {
        what: `chain ${name} of table ${family} ${table} drops forwarded packets by its policy${by}`,
        cure: `accept pods there (${cureFor(chain)}), or set its policy to accept`,
      },
    ];
  });
}

function cureFor({ family, table, chain }: ForwardChain): string {
  const program = { ip: "iptables", ip6: "ip6tables", inet: undefined }[family];
  return program !== undefined && table === "filter"
    ? `${program} -I ${chain} -i fl+ -j ACCEPT; ${program} -I ${chain} -o fl+ -j ACCEPT`
    : `nft insert rule ${family} ${table} ${chain} iifname "fl*" accept; nft insert rule ${family} ${table} ${chain} oifname "fl*" accept`;
}

/** One pass of looking; says what is new, and what is gone, once. */
export function createObstacleWatch({ kernel, log }: { kernel: Kernel; log: Log }): {
  look: () => Promise<void>;
  found: () => readonly Obstacle[];
} {
  let found: readonly Obstacle[] = [];
  return {
    found: () => found,
    look: async () => {
      const seen = obstaclesIn(await kernel.forwardChains());
      const isIn = (list: readonly Obstacle[], { what }: Obstacle): boolean =>
        list.some((other) => other.what === what);
      for (const obstacle of seen) if (!isIn(found, obstacle)) log.warn(obstacle, "pods may not be reached");
      for (const { what } of found) if (!isIn(seen, { what, cure: "" })) log.info({ what }, "no longer in the way");
      found = seen;
    },
  };
}
