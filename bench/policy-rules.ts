// A large policy for measurements: layers of as many rules as people write, and memberships of as many addresses as a cluster has.

import { present } from "../src/base/assert.ts";
import { addressAt, type Cidr, parseCidr } from "../src/net/cidr.ts";
import type { Ip } from "../src/net/ip.ts";
import { groupMembership } from "../src/policy/membership.ts";
import type { Layer, Member, MemberParts, MembershipKey, Memberships, Rule } from "../src/policy/model.ts";

/** Members are addresses from here, and those that a measurement adds. */
const memberRange = { 4: network("10.64.0.0/10"), 6: network("fd00:64::/64") };
const firstPort = 10_000;
/** Every fifth rule of a layer is about one of so many networks, which are the layer's own. */
const networksOfLayer = 50;

/** The port of a rule in the middle of a layer of so many, which is what measured traffic goes to. */
export const middlePort = (rules: number): number => firstPort + Math.floor(rules / 2);

/** The key of membership `number`. */
export function membershipKey(number: number): MembershipKey {
  return groupMembership(`bench-${number}`).key;
}

/**
 * So many addresses in one membership, the `extra` ones among them: half of the others are IPv4 and half IPv6, as in dual stack.
 * `from`: how many addresses of the range are left out, so that memberships differ.
 */
export function makeMembers(
  count: number,
  { extra = [], from = 0 }: { extra?: readonly Ip[]; from?: number } = {},
): Member[] {
  const others = Array.from({ length: count - extra.length }, (_, index) =>
    addressAt(memberRange[index % 2 === 0 ? 4 : 6], BigInt(from + (index >> 1) + 1)),
  );
  return [...extra, ...others].map((address) => ({ address, ports: [] }));
}

export interface LayerWish {
  kind: Layer["kind"];
  direction: Layer["direction"];
  rules: number;
  /** Told apart by it: layers of other ids have other rules. */
  variant?: number;
  /** Memberships that rules name in turn. */
  memberships: readonly MembershipKey[];
}

/**
 * Each rule has a port of its own. Every fifth is about one of ten networks, every tenth about a range of ports, the rest about a membership;
 * that of `middlePort` about the first one.
 */
export function makeLayer({ kind, direction, rules: count, variant = 0, memberships }: LayerWish): Layer {
  const middle = middlePort(count);
  const rules = Array.from({ length: count }, (_, index): Rule => {
    const port = firstPort + index;
    const isMiddle = port === middle;
    const isRange = !isMiddle && index % 10 === 1;
    const block = network(`203.${variant % 256}.${index % networksOfLayer}.0/24`);
    const members = present(memberships[isMiddle ? 0 : index % memberships.length], "a membership");
    return {
      from: `${kind} bench ${direction} rule ${index + 1}`,
      ports: [{ protocol: 6, first: isRange ? port + 30_000 : port, last: isRange ? port + 30_100 : port }],
      peers: [!isMiddle && index % 5 === 0 ? { block, except: [] } : { members }],
    };
  });
  const id = `${kind} ${direction} bench ${variant}`;
  return { kind, direction, id, objects: [`${kind} bench-${variant}`], otherwise: "deny", rules };
}

/** `total` addresses in as many memberships as there are keys, the first with the `extra` ones. */
export function makeMemberships(keys: readonly MembershipKey[], total: number, extra: readonly Ip[] = []): Memberships {
  const each = Math.floor(total / keys.length);
  return new Map(
    keys.map((key, index) => [
      key,
      partsOf(makeMembers(each, { from: index * each, ...(index === 0 ? { extra } : {}) })),
    ]),
  );
}

/** As the controller's slices have at most. */
const partLenMax = 100;

/** The members in the parts in which an agent hears of them. */
export function partsOf(members: readonly Member[]): MemberParts {
  const count = Math.ceil(members.length / partLenMax);
  return Array.from({ length: count }, (_, at) => members.slice(at * partLenMax, (at + 1) * partLenMax));
}

function network(text: string): Cidr {
  return present(parseCidr(text), text);
}
