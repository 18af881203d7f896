// Addresses that must not be given again yet: some membership still lists them, for the pod that had them.

import type { Withheld } from "../../ipam/leases.ts";
import { createAddressTally } from "../../net/address-tally.ts";
import type { Cidr } from "../../net/cidr.ts";
import type { Ip } from "../../net/ip.ts";
import type { Memberships } from "../../policy/model.ts";
import type { PolicySource } from "./sources.ts";

/**
 * What the slices list, whichever rule names them: other nodes let such an address in as the pod that is gone. Until the cluster has told
 * all of them, what an earlier agent kept counts too; where nothing was kept, any address could be listed, and all are withheld.
 * Nothing ends it but the slices: see docs/decisions/0021-withheld-addresses.md.
 */
export function createWithheld(
  { known, listed, mayBeAsked = false }: Pick<PolicySource, "known" | "listed" | "mayBeAsked">,
  kept: { memberships: Memberships } | undefined,
): Withheld {
  const members = [...(kept?.memberships.values() ?? [])].flat(2);
  const listedBefore = createAddressTally(members.map(({ address }) => address));
  const isAny = (): boolean => !known() && kept === undefined;
  const wasListed = (address: Ip): boolean => !known() && listedBefore.has(address);
  const within = (blocks: readonly Cidr[]): ReadonlySet<Ip> =>
    known() ? listed.within(blocks) : listed.within(blocks).union(listedBefore.within(blocks));
  return {
    has: (address) => listed.has(address) || wasListed(address) || isAny(),
    within,
    mayBeAsked,
    get isAny() {
      return isAny();
    },
    get why() {
      if (isAny()) return "which ones must not be given is not known yet; see what the agent waits for";
      return mayBeAsked
        ? "a Pod of the policy directory has it, and gets it by asking for it"
        : "MembershipSlices still list it for a pod that has gone; fairlead-controller takes it out, see whether it runs";
    },
    get size() {
      return listed.size + listedBefore.size;
    },
  };
}
