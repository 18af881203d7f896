// The memberships as the controller's slices tell them, put together slice by slice. Pure.

import type { CacheChange } from "../../kube/contract.ts";
import type { MembershipSlice } from "../../kube/policy-objects.ts";
import type { Ip } from "../../net/ip.ts";
import type { Member, MemberParts, MembershipKey, Memberships } from "../../policy/model.ts";
import { namedPorts } from "../../policy/policy-pod.ts";

export interface SliceBook {
  /** Takes what has become of one slice. */
  apply: (change: CacheChange<MembershipSlice>) => void;
  /** All of them, a slice a part. A membership that has not changed is the same array as before. */
  memberships: () => Memberships;
  /** Addresses that any of them lists, whether a rule names it or not. */
  listed: Pick<ReadonlyMap<Ip, unknown>, "has" | "size">;
}

/** An empty book. */
export function createSliceBook(): SliceBook {
  /** Members by slice, by membership. */
  const parts = new Map<MembershipKey, Map<string, readonly Member[]>>();
  const whole = new Map<MembershipKey, MemberParts>();
  /** In how many slices each address stands. */
  const listed = new Map<Ip, number>();
  /** Memberships that have changed since they were put together. */
  const changed = new Set<MembershipKey>();

  const put = (slice: MembershipSlice): void => {
    const key = keyOf(slice);
    const ofKey = parts.get(key) ?? new Map<string, readonly Member[]>();
    ofKey.set(slice.metadata.name, membersIn(slice));
    parts.set(key, ofKey);
    count(slice, 1);
    changed.add(key);
  };
  const take = (slice: MembershipSlice): void => {
    const key = keyOf(slice);
    parts.get(key)?.delete(slice.metadata.name);
    changed.add(key);
  };
  const count = ({ endpoints }: MembershipSlice, step: 1 | -1): void => {
    for (const address of endpoints.flatMap(({ addresses }) => addresses)) {
      const slices = (listed.get(address) ?? 0) + step;
      if (slices > 0) listed.set(address, slices);
      else listed.delete(address);
    }
  };
  const putTogether = (key: MembershipKey): void => {
    const ofKey = parts.get(key);
    if (ofKey !== undefined && ofKey.size > 0) return void whole.set(key, [...ofKey.values()]);
    parts.delete(key);
    whole.delete(key);
  };

  return {
    apply: ({ before, after }) => {
      if (before !== undefined) count(before, -1);
      // A slice can be made anew under its name for another membership.
      if (before !== undefined && (after === undefined || keyOf(before) !== keyOf(after))) take(before);
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

const keyOf = ({ membership }: MembershipSlice): MembershipKey => membership as MembershipKey; // oxlint-disable-line typescript/no-unsafe-type-assertion -- the controller writes keys; another text is a membership that no rule names

function membersIn({ endpoints }: MembershipSlice): Member[] {
  return endpoints.flatMap(({ addresses, ports = [] }) => {
    const named = namedPorts(ports);
    return addresses.map((address) => ({ address, ports: named }));
  });
}
