// Policy as the cluster tells it: every kind that decides, followed; and whether all of it has been heard.

import type { Log } from "../../base/log.ts";
import type { Cache, CacheStatus, Kind, Kube, KubeObject, Selection } from "../../kube/contract.ts";
import {
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "../../kube/policy-objects.ts";
import { createPolicyView, type PolicyCaches } from "../../kube/policy-view.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import type { Memberships, PolicyObjects } from "../../policy/model.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import { createHeard, type FollowedKind } from "./heard.ts";
import { createSliceBook, type SliceBook, sliceParts } from "./slices.ts";

export interface PolicySource {
  objects: () => PolicyObjects;
  /** `objects` read: the same object as long as nothing that decides has changed. */
  read: () => ReadObjects;
  /** As the controller tells them. */
  memberships: () => Memberships;
  /** Addresses that any slice lists. */
  listed: SliceBook["listed"];
  /** They are listed for pods to come, which ask for them. */
  mayBeAsked?: boolean;
  /** Every kind has been heard of as a whole since the start, this node's pods among them: only then may anything be taken back. */
  known: () => boolean;
  /** The API server has failed to answer. */
  failing: () => boolean;
  /** What keeps it from being known, for people. */
  missing: () => string;
  caches: () => CacheStatus[];
  /** See `createHeard`. */
  heardOf: (namespace: string) => Promise<void>;
  /** Settles when all following has ended. */
  done: Promise<unknown>;
}

export interface PolicySourceOptions {
  keys: PolicyKeys;
  kube: Pick<Kube, "follow" | "list">;
  /** All pods of this node have been listed. */
  podsKnown: () => boolean;
  /** Longest silence of a watch that is believed. */
  silentMaxMs: number;
  log: Log;
  signal: AbortSignal;
  onChange: () => void;
}

/** Starts to follow; nothing is awaited. */
export function followPolicy({
  kube,
  keys,
  podsKnown,
  silentMaxMs,
  log,
  signal,
  onChange,
}: PolicySourceOptions): PolicySource {
  const book = createSliceBook();
  /** As of the last change: asked for at each ADD, and looking at every object takes a while where there are many. */
  let read: ReadObjects | undefined;
  const changed = (): void => {
    read = undefined;
    onChange();
  };
  const follow = <T extends KubeObject>(kind: Kind<T>, more: { mayBeMissing?: true } = {}): Cache<T> =>
    kube.follow(kind, { signal, onSynced: changed, onChange: changed, ...more });
  const slices = kube.follow(sliceParts, {
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
  const heardOf = createHeard({
    kube,
    kinds: judging(kinds),
    silentMaxMs,
    log,
    signal,
  });

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
    heardOf,
    caches: () => caches.map((cache) => cache.status()),
    done: Promise.all(caches.map(({ done }) => done)),
  };
}

/** What of each kind judges pods of a namespace. */
function judging(caches: PolicyCaches): FollowedKind[] {
  const own = (namespace: string): Selection => ({ namespace });
  const itself = (name: string): Selection => ({ fieldSelector: `metadata.name=${name}` });
  return [
    { kind: namespaces, cache: caches.namespaces, within: itself },
    { kind: serviceAccounts, cache: caches.serviceAccounts, within: own },
    { kind: networkPolicies, cache: caches.networkPolicies, within: own },
    { kind: securityGroups, cache: caches.groups, within: () => ({}) },
    { kind: securityGroupBindings, cache: caches.bindings, within: own },
    { kind: securityGroupPolicies, cache: caches.groupPolicies, within: own },
  ];
}
