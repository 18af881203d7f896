// The keeper of policy on a node in memory, for its tests: what the cluster says is said by hand, and what it does is written down.

import assert from "node:assert/strict";
import { startFakeNode, type FakeNode } from "./model/fake-node.ts";
import { present } from "../src/base/assert.ts";
import { silentLog } from "../src/base/log.ts";
import { isWired, type Wired } from "../src/ipam/store.ts";
import type { Guard } from "../src/kernel/contract.ts";
import { type Pod, pods } from "../src/kube/core-objects.ts";
import { type NetworkPolicy, networkPolicies } from "../src/kube/policy-objects.ts";
import { type AddressTally, createAddressTally } from "../src/net/address-tally.ts";
import { defaultKeys } from "../src/policy/keys.ts";
import type { Model } from "../src/policy/model.ts";
import { readObjects, type ReadObjects } from "../src/policy/read-objects.ts";
import { sourceGuardAnnotation } from "../src/policy/source-guard.ts";
import type { Judging } from "../src/agent/cluster/judging.ts";
import { createGlass } from "../src/agent/policy/glass.ts";
import { keepPolicy, type Policy } from "../src/agent/policy/keep.ts";
import type { NameOf } from "../src/agent/policy/pod-policy.ts";
import type { PolicySource } from "../src/agent/policy/sources.ts";

export const closed: NetworkPolicy = networkPolicies.parse({
  metadata: { namespace: "shop", name: "closed" },
  spec: { podSelector: { matchLabels: { app: "db" } }, policyTypes: ["Ingress"] },
});

export const fromWeb: NetworkPolicy = networkPolicies.parse({
  metadata: { namespace: "shop", name: "from-web" },
  spec: {
    podSelector: { matchLabels: { app: "db" } },
    ingress: [{ from: [{ podSelector: { matchLabels: { app: "web" } } }] }],
  },
});

export interface Stand {
  node: FakeNode;
  policy: Policy;
  /** Makes the cluster say that these policies are there. */
  say: (...policies: readonly NetworkPolicy[]) => void;
  /** For each pass that ended well: whether connections are looked for. */
  narrowed: boolean[];
  /** What connections are judged by, in the order of time. */
  models: Model[];
  /** What the cluster was told. */
  judging: Judging[];
  attachment: Wired;
  /** Addresses that were put into sets without a pass. */
  admitted: string[];
  /** Of each time that the kernel was to hold a ruleset: whether what it holds was believed to be what it was told. */
  trusted: boolean[];
  /** What was counted as repaired. */
  repairs: string[];
  /** The pod's word on the source guard, which its namespace lets it have. */
  guard: (word: "on" | "off") => void;
  /** Addresses that slices list. */
  listed: AddressTally;
  /** What became of the pod's link: whether policy lets it reach itself, each time that a ruleset was ensured, and its guard. */
  told: string[];
  group: () => Promise<number | undefined>;
}

/** A node with one attached pod, app=db in shop, which nothing judges yet; `nameOf` names it where its caller has not. */
export async function stand(nameOf?: NameOf): Promise<Stand> {
  const node = await startFakeNode();
  await node.add("db");
  const { machine, core } = node;
  const { attachment } = present(core.pool.all()[0], "attachment");
  assert.ok(isWired(attachment));
  const pod = { namespace: "shop", name: "db", uid: "db" };
  const named: Wired = nameOf === undefined ? { ...attachment, pod } : attachment;
  const held = { attachment: named, state: "ready", leaving: false } as const;
  const pool = {
    ...core.pool,
    all: () => core.pool.all().map((one) => ({ ...held, leaving: one.leaving })),
    find: () => ({ ...held, leaving: core.pool.all()[0]?.leaving ?? true }),
  };
  const admitted: string[] = [];
  const { kernel } = machine;
  const change: typeof kernel.policy.change = (changes) => {
    for (const elements of changes.add?.values() ?? []) admitted.push(...elements.map(({ address }) => address));
    return kernel.policy.change(changes);
  };
  const trusted: boolean[] = [];
  const told: string[] = [];
  const ensure: typeof kernel.policy.ensure = (ruleset, trust) => {
    trusted.push(trust === "as left");
    told.push(ruleset.links.has(attachment.wire.hostLink) ? "reaches itself" : "is judged");
    return kernel.policy.ensure(ruleset, trust);
  };
  let read: ReadObjects;
  const say = (...policies: readonly NetworkPolicy[]): void => {
    read = readObjects(policyObjects(policies));
  };
  say();
  const listed = createAddressTally();
  const source: PolicySource = {
    objects: () => policyObjects([]),
    read: () => read,
    memberships: () => new Map(),
    listed,
    known: () => true,
    failing: () => false,
    missing: () => "",
    caches: () => [],
    heardOf: async () => {},
    done: Promise.resolve(),
  };
  let guardWord = "on";
  const guard = (word: "on" | "off"): void => void (guardWord = word);
  const narrowed: boolean[] = [];
  const models: Model[] = [];
  const judging: Judging[] = [];
  const repairs: string[] = [];
  const policy = keepPolicy({
    kernel: {
      ...kernel,
      policy: { ...kernel.policy, change, ensure },
      guard: telling(kernel.guard, told),
    },
    pool,
    nodeName: "a",
    source,
    findPod: ({ name }) => podNamed(name, guardWord),
    findOwner: () => undefined,
    nameOf,
    kept: undefined,
    keys: defaultKeys,
    glass: createGlass({ nodeName: "a", ofNode: () => undefined, now: () => 0 }),
    nodeBreakGlass: () => undefined,
    onBroken: () => {},
    log: silentLog(),
    metrics: { repaired: (what, count) => void repairs.push(`${what} ${count}`) },
    signal: new AbortController().signal,
    cutting: {
      expect: () => {},
      judgeBy: (model, isNarrower) => {
        models.push(model);
        narrowed.push(isNarrower);
      },
    },
    judging: (now) => judging.push(now),
  });
  const group = async (): Promise<number | undefined> =>
    (await machine.kernel.node.link(attachment.wire.hostIndex))?.group;
  const heard = { narrowed, models, judging, admitted, trusted, repairs, told, listed };
  return { node, policy, say, guard, attachment: named, group, ...heard };
}

const policyObjects = (networkPolicies: readonly NetworkPolicy[]): ReturnType<PolicySource["objects"]> => ({
  namespaces: [{ metadata: { name: "shop", annotations: { [sourceGuardAnnotation]: "per-pod" } } }],
  serviceAccounts: [],
  networkPolicies,
  groups: [],
  bindings: [],
  groupPolicies: [],
});

/** The guard, which says when it lets links send from any address, and when no longer. */
const telling = (guard: Guard, told: string[]): Guard => ({
  ...guard,
  admit: (entries) => {
    told.push("guard off");
    return guard.admit(entries);
  },
  withdraw: (entries) => {
    told.push("guard on");
    return guard.withdraw(entries);
  },
});

/** The API server's object of a pod in shop that is labelled by its name. */
export const podNamed = (name: string, guard = "on"): Pod =>
  pods.parse({
    metadata: {
      namespace: "shop",
      name,
      uid: name,
      labels: { app: name },
      annotations: { [sourceGuardAnnotation]: guard },
    },
    spec: { nodeName: "a" },
  });
