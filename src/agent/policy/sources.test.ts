// What the cluster has told of policy: known only when all of it is, this node's pods too; read anew only after a change.

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../base/log.ts";
import type { Cache, CacheStatus, FollowOptions, Kind, Kube, KubeObject } from "../../kube/contract.ts";
import { type NetworkPolicy, networkPolicies } from "../../kube/policy-objects.ts";
import { defaultKeys } from "../../policy/keys.ts";
import { followPolicy } from "./sources.ts";

interface Followed {
  kube: Pick<Kube, "follow" | "list">;
  /** Kinds that have been listed. */
  listed: Set<string>;
  held: NetworkPolicy[];
  /** What the client tells after each change of a kind. */
  tell: (kind: string) => void;
}

/** A client whose caches a test fills. */
function follow(): Followed {
  const listed = new Set<string>();
  const held: NetworkPolicy[] = [];
  const told = new Map<string, () => void>();
  const status = (kind: string): CacheStatus => ({ kind, objects: 0, lists: 0, watches: 0, events: 0, failures: 0 });
  const notHere = (): never => assert.fail("following asks nothing of it");
  const kube: Followed["kube"] = {
    follow: <T extends KubeObject>({ kind, parse }: Kind<T>, { onSynced }: FollowOptions<T>): Cache<T> => {
      if (onSynced !== undefined) told.set(kind, onSynced);
      return {
        get: notHere,
        all: () => (kind === networkPolicies.kind ? held.map((one) => parse(one)) : []),
        synced: () => listed.has(kind),
        whenSynced: notHere,
        silentMs: notHere,
        renew: notHere,
        status: () => status(kind),
        done: Promise.resolve(),
      };
    },
    list: notHere,
  };
  return {
    kube,
    listed,
    held,
    tell: (kind) => told.get(kind)?.(),
  };
}

const kinds = [
  "Namespace",
  "ServiceAccount",
  "NetworkPolicy",
  "SecurityGroup",
  "SecurityGroupBinding",
  "SecurityGroupPolicy",
  "MembershipSlice",
];

void test("nothing is known before every kind has been listed, and this node's pods; what is missing is named", () => {
  const { kube, listed } = follow();
  let podsKnown = false;
  const signal = new AbortController().signal;
  const source = followPolicy({
    keys: defaultKeys,
    kube,
    podsKnown: () => podsKnown,
    silentMaxMs: 1000,
    log: silentLog(),
    signal,
    onChange: () => {},
  });
  for (const kind of kinds) {
    assert.equal(source.known(), false);
    assert.match(source.missing(), new RegExp(`${kind} not listed`));
    listed.add(kind);
  }
  assert.equal(source.known(), false, "a pod that is not known would be judged by its names alone");
  assert.equal(source.missing(), "Pod not listed");
  podsKnown = true;
  assert.equal(source.known(), true);
  assert.equal(source.missing(), "");
});

void test("objects are read anew after a change, and not when they are asked for again", () => {
  const { kube, held, tell } = follow();
  let changes = 0;
  const signal = new AbortController().signal;
  const source = followPolicy({
    keys: defaultKeys,
    kube,
    podsKnown: () => true,
    silentMaxMs: 1000,
    log: silentLog(),
    signal,
    onChange: () => (changes += 1),
  });
  const before = source.read();
  held.push(networkPolicies.parse({ metadata: { namespace: "shop", name: "web", uid: "u", generation: 1 }, spec: {} }));
  assert.equal(source.read(), before);
  tell("NetworkPolicy");
  assert.equal(changes, 1);
  assert.notEqual(source.read(), before);
  assert.equal(source.read(), source.read());
});
