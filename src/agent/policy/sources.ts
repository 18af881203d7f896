// Policy as the cluster tells it: every kind that decides, followed; and whether all of it has been heard.

import type { Cache, CacheStatus, Kind, Kube, KubeObject } from "../../kube/contract.ts";
import {
  membershipSlices,
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "../../kube/policy-objects.ts";
import { createPolicyView } from "../../kube/policy-view.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import type { Memberships, PolicyObjects } from "../../policy/model.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import { createSliceBook, type SliceBook } from "./slices.ts";

export interface PolicySource {
  objects: () => PolicyObjects;
  /** `objects` read: the same object as long as nothing that decides has changed. */
  read: () => ReadObjects;
  /** As the controller tells them. */
  memberships: () => Memberships;
  /** Addresses that any slice lists. */
  listed: SliceBook["listed"];
  /** Every kind has been heard of as a whole since the start, this node's pods among them: only then may anything be taken back. */
  known: () => boolean;
  /** The API server has failed to answer. */
  failing: () => boolean;
  /** What keeps it from being known, for people. */
  missing: () => string;
  caches: () => CacheStatus[];
  /** Settles when all following has ended. */
  done: Promise<unknown>;
}

export interface PolicySourceOptions {
  keys: PolicyKeys;
  kube: Kube;
  /** All pods of this node have been listed. */
  podsKnown: () => boolean;
  signal: AbortSignal;
  onChange: () => void;
}

/** Starts to follow; nothing is awaited. */
export function followPolicy({ kube, keys, podsKnown, signal, onChange }: PolicySourceOptions): PolicySource {
  const book = createSliceBook();
  /** As of the last change: asked for at each ADD, and looking at every object takes a while where there are many. */
  let read: ReadObjects | undefined;
  const changed = (): void => {
    read = undefined;
    onChange();
  };
  const follow = <T extends KubeObject>(kind: Kind<T>, more: { mayBeMissing?: true } = {}): Cache<T> =>
    kube.follow(kind, { signal, onSynced: changed, onChange: changed, ...more });
  const slices = kube.follow(membershipSlices, {
    signal,
    onSynced: onChange,
    onChange: (change) => {
      book.apply(change);
      onChange();
    },
  });
  const kinds = {
    namespaces: follow(namespaces),
    serviceAccounts: follow(serviceAccounts),
    networkPolicies: follow(networkPolicies),
    groups: follow(securityGroups),
    bindings: follow(securityGroupBindings),
    groupPolicies: follow(securityGroupPolicies, { mayBeMissing: true }),
  };
  const caches = [...Object.values(kinds), slices];
  const readAnew = createPolicyView(kinds, keys);

  return {
    objects: () => ({
      namespaces: kinds.namespaces.all(),
      serviceAccounts: kinds.serviceAccounts.all(),
      networkPolicies: kinds.networkPolicies.all(),
      groups: kinds.groups.all(),
      bindings: kinds.bindings.all(),
      groupPolicies: kinds.groupPolicies.all(),
    }),
    read: () => (read ??= readAnew()),
    memberships: book.memberships,
    listed: book.listed,
    known: () => podsKnown() && caches.every((cache) => cache.synced()),
    failing: () => caches.some((cache) => cache.status().failures > 0),
    missing: () =>
      [
        ...caches
          .filter((cache) => !cache.synced())
          .map((cache) => cache.status())
          .map(({ kind, lastError }) => `${kind} not listed (${lastError ?? "no answer so far"})`),
        ...(podsKnown() ? [] : ["Pod not listed"]),
      ].join("; "),
    caches: () => caches.map((cache) => cache.status()),
    done: Promise.all(caches.map(({ done }) => done)),
  };
}
