// The memberships as the controller's slices tell them, put together slice by slice. Pure.

import type { CacheChange, Kind, KubeObject } from "../../kube/contract.ts";
import { type MembershipSlice, membershipSlices } from "../../kube/policy-objects.ts";
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
  listed: Pick<ReadonlyMap<Ip, unknown>, "has" | "keys" | "size">;
}

/** An empty book. */
export function createSliceBook(): SliceBook {
  /** Members by slice, by membership. */
  const parts = new Map<string, Map<string, readonly Member[]>>();
  const whole = new Map<MembershipKey, MemberParts>();
  /** In how many slices each address stands. */
  const listed = new Map<Ip, number>();
  /** Memberships that have changed since they were put together. */
  const changed = new Set<string>();

  const put = ({ metadata, membership, members }: SlicePart): void => {
    const ofKey = parts.get(membership) ?? new Map<string, readonly Member[]>();
    ofKey.set(metadata.name, members);
    parts.set(membership, ofKey);
    count(members, 1);
    changed.add(membership);
  };
  const take = ({ metadata, membership }: SlicePart): void => {
    parts.get(membership)?.delete(metadata.name);
    changed.add(membership);
  };
  const count = (members: readonly Member[], step: 1 | -1): void => {
    for (const { address } of members) {
      const slices = (listed.get(address) ?? 0) + step;
      if (slices > 0) listed.set(address, slices);
      else listed.delete(address);
    }
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
      if (before !== undefined) count(before.members, -1);
      // A slice can be made anew under its name for another membership.
      if (before !== undefined && (after === undefined || before.membership !== after.membership)) take(before);
      if (after !== undefined) put(after);
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

function membersIn(endpoints: MembershipSlice["endpoints"]): Member[] {
  return endpoints.flatMap(({ addresses, ports }) => {
    const named = ports === undefined ? noPorts : namedPorts(ports);
    return addresses.map((address) => ({ address, ports: named }));
  });
}
