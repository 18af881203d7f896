// The memberships as the controller's slices tell them, put together slice by slice. Pure.

import type { CacheChange, Kind, KubeObject } from "../../kube/contract.ts";
import { type MembershipSlice, membershipSlices } from "../../kube/policy-objects.ts";
import { type AddressTally, createAddressTally } from "../../net/address-tally.ts";
import type { Ip } from "../../net/ip.ts";
import type { Member, MemberParts, MembershipKey, Memberships, NamedPort } from "../../policy/model.ts";
import { isMembershipKey } from "../../policy/membership.ts";
import { namedPorts } from "../../policy/policy-pod.ts";

/** What policy needs of a slice. */
export interface SlicePart extends KubeObject {
  membership: string;
  members: readonly Member[];
}

/** Slices, of which no more is kept: an agent holds tens of thousands of members. */
export const sliceParts: Kind<SlicePart> = {
  ...membershipSlices,
  parse: (raw) => {
    const { metadata, membership, endpoints } = membershipSlices.parse(raw);
    return { metadata, membership, members: membersIn(endpoints) };
  },
};

export interface SliceBook {
  /** Takes what has become of one slice. */
  apply: (change: CacheChange<SlicePart>) => void;
  /** All of them, a slice a part. A membership that has not changed is the same array as before. */
  memberships: () => Memberships;
  /** Addresses that any of them lists, whether a rule names it or not. */
  listed: Pick<AddressTally, "has" | "within" | "size">;
}

/** An empty book. */
export function createSliceBook(): SliceBook {
  /** Members by slice, by membership. */
  const parts = new Map<string, Map<string, readonly Member[]>>();
  const whole = new Map<MembershipKey, MemberParts>();
  const listed = createAddressTally();
  /** Memberships that have changed since they were put together. */
  const changed = new Set<string>();

  const put = ({ metadata, membership, members }: SlicePart): void => {
    const ofKey = parts.get(membership) ?? new Map<string, readonly Member[]>();
    ofKey.set(metadata.name, members);
    parts.set(membership, ofKey);
    listed.add(addressesOf(members));
    changed.add(membership);
  };
  const take = ({ metadata, membership }: SlicePart): void => {
    parts.get(membership)?.delete(metadata.name);
    changed.add(membership);
  };
  const putTogether = (key: string): void => {
    const ofKey = parts.get(key) ?? new Map<string, readonly Member[]>();
    if (ofKey.size === 0) parts.delete(key);
    if (!isMembershipKey(key)) return; // no rule names it
    if (ofKey.size === 0) whole.delete(key);
    else whole.set(key, [...ofKey.values()]);
  };

  return {
    apply: ({ before, after }) => {
      // A slice can be made anew under its name for another membership.
      if (before !== undefined && (after === undefined || before.membership !== after.membership)) take(before);
      if (after !== undefined) put(after);
      // Last, so that what stays has not been away.
      if (before !== undefined) listed.remove(addressesOf(before.members));
    },
    memberships: () => {
      for (const key of changed) putTogether(key);
      changed.clear();
      return new Map(whole);
    },
    listed,
  };
}

/** Most members have none. */
const noPorts: readonly NamedPort[] = [];

const addressesOf = (members: readonly Member[]): Ip[] => members.map(({ address }) => address);

function membersIn(endpoints: MembershipSlice["endpoints"]): Member[] {
  return endpoints.flatMap(({ addresses, ports }) => {
    const named = ports === undefined ? noPorts : namedPorts(ports);
    return addresses.map((address) => ({ address, ports: named }));
  });
}
