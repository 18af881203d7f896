// The keeper of policy on a node in memory: what a pass that fails leaves due, whom a link belongs to meanwhile, and what waits for whom.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startFakeNode, type FakeNode } from "../../../test/model/fake-node.ts";
import { hostMac } from "../../../test/kernel-stage.ts";
import { testIp, testWired } from "../../../test/store.contract.ts";
import { present } from "../../base/assert.ts";
import { Fault } from "../../base/fault.ts";
import { silentLog } from "../../base/log.ts";
import { isWired, type Wired } from "../../ipam/store.ts";
import type { Guard } from "../../kernel/contract.ts";
import { type Pod, pods } from "../../kube/core-objects.ts";
import { type NetworkPolicy, networkPolicies } from "../../kube/policy-objects.ts";
import { defaultKeys } from "../../policy/keys.ts";
import { createJudge } from "../../policy/judge.ts";
import type { Model } from "../../policy/model.ts";
import { readObjects, type ReadObjects } from "../../policy/read-objects.ts";
import { sourceGuardAnnotation } from "../../policy/source-guard.ts";
import type { Judging } from "../cluster/judging.ts";
import { createGlass } from "./glass.ts";
import { keepPolicy, type Policy } from "./keep.ts";
import type { NameOf } from "./pod-policy.ts";
import type { PolicySource } from "./sources.ts";

const closed: NetworkPolicy = networkPolicies.parse({
  metadata: { namespace: "shop", name: "closed" },
  spec: { podSelector: { matchLabels: { app: "db" } }, policyTypes: ["Ingress"] },
});

const fromWeb: NetworkPolicy = networkPolicies.parse({
  metadata: { namespace: "shop", name: "from-web" },
  spec: {
    podSelector: { matchLabels: { app: "db" } },
    ingress: [{ from: [{ podSelector: { matchLabels: { app: "web" } } }] }],
  },
});

interface Stand {
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
  /** What became of the pod's link: whether policy lets it reach itself, each time that a ruleset was ensured, and its guard. */
  told: string[];
  group: () => Promise<number | undefined>;
}

/** A node with one attached pod, app=db in shop, which nothing judges yet; `nameOf` names it where its caller has not. */
async function stand(nameOf?: NameOf): Promise<Stand> {
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
  const source: PolicySource = {
    objects: () => policyObjects([]),
    read: () => read,
    memberships: () => new Map(),
    listed: new Map(),
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
  const heard = { narrowed, models, judging, admitted, trusted, repairs, told };
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
const podNamed = (name: string, guard = "on"): Pod =>
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

const broken = new Fault("kernel-refused", "not now");

void test("the first pass looks for connections, one that changes nothing does not, one that closes does", async () => {
  const { policy, say, narrowed, group } = await stand();
  await policy.sync();
  await policy.sync();
  say(closed);
  policy.changed("cluster");
  await policy.sync();
  assert.deepEqual(narrowed, [true, false, true]);
  assert.equal(await group(), 101);
  say();
  policy.changed("cluster");
  await policy.sync();
  assert.equal(await group(), 100);
});

void test("the cluster hears by what the node judges once the kernel does, and what goes round it", async () => {
  const { node, policy, say, judging } = await stand();
  say(closed);
  node.machine.kernel.failNext("policy.ensure", broken);
  await assert.rejects(policy.sync(), /not now/);
  assert.equal(judging.length, 0);
  await policy.sync();
  assert.deepEqual(judging.at(-1), { groups: "in none", bypass: undefined }, "no group judges its pods");
  node.machine.kernel.addDevice(node.machine.kernel.node, { name: "kube-ipvs0", mac: hostMac, mtu: 1500 });
  await policy.sync();
  assert.match(judging.at(-1)?.bypass ?? "", /kube-proxy runs in IPVS mode/);
});

void test("a pass that fails after the kernel has been told owes the look for connections to the next", async () => {
  const { node, policy, say, narrowed, group } = await stand();
  await policy.sync();
  say(closed);
  policy.changed("cluster");
  node.machine.kernel.failNext("link.set", broken, "all was done");
  await assert.rejects(policy.sync(), /not now/);
  await policy.sync();
  assert.deepEqual(narrowed, [true, true]);
  assert.equal(await group(), 101);
});

void test("what somebody did to table or link is put back, and what began meanwhile is looked for", async () => {
  const { node, policy, say, narrowed } = await stand();
  say(closed);
  await policy.sync();
  node.machine.kernel.damagePolicy("table deleted");
  policy.doubt();
  await policy.sync();
  policy.linkRepaired();
  await policy.sync();
  await policy.sync();
  assert.deepEqual(narrowed, [true, true, true, false]);
});

void test("what somebody did to the table is counted, whatever else the pass is for; what the pass is for is not", async () => {
  const { node, policy, say, trusted, repairs } = await stand();
  say(fromWeb);
  await policy.sync();
  const damage = (): void => {
    node.machine.kernel.damagePolicy("table deleted");
    policy.doubt();
  };
  const come = async (name: string, address: string): Promise<void> => {
    const pod = { namespace: "shop", name, uid: name };
    const attachment = testWired({ containerId: `other ${name}`, pod, addresses: [testIp(address)] });
    await policy.enter({ ...attachment, wire: { ...attachment.wire, hostLink: `fl${name}` } }, podNamed(name));
  };
  policy.doubt();
  say(fromWeb, closed);
  policy.changed("cluster");
  await policy.sync();
  assert.deepEqual(repairs, [], "policy changed, and so did the table");
  trusted.length = 0;
  await come("web", "10.4.1.77");
  await come("db", "10.4.1.78");
  assert.deepEqual(trusted, []);
  policy.doubt();
  policy.changed("attachments");
  await policy.sync();
  assert.deepEqual(repairs, [], "pods came without a pass, and went");
  damage();
  policy.changed("attachments");
  await policy.sync();
  assert.deepEqual(repairs, ["policy 1"]);
  damage();
  say(closed);
  policy.changed("cluster");
  node.machine.kernel.failNext("policy.ensure", broken);
  await assert.rejects(policy.sync(), /not now/);
  await policy.sync();
  damage();
  await policy.sync();
  assert.deepEqual(repairs, ["policy 1", "policy 1"], "what a pass that failed has left is nobody's damage");
});

void test("a link that DEL has doomed while the kernel was told is not put back into a class", async () => {
  const { node, policy, say, group } = await stand();
  await policy.sync();
  say(closed);
  policy.changed("cluster");
  const { kernel } = node.machine;
  const links = kernel.node.links.bind(kernel.node);
  kernel.node.links = async () => {
    const seen = await links();
    await node.remove("db");
    return seen;
  };
  await policy.sync();
  assert.equal(await group(), 99);
});

void test("the link of a sandbox that its caller did not name follows its class within the pass", async () => {
  const { policy, say, group } = await stand(() => ({ namespace: "shop", name: "db" }));
  await policy.sync();
  assert.equal(await group(), 100);
  say(closed);
  policy.changed("cluster");
  await policy.sync();
  assert.equal(await group(), 101);
});

void test("ADD waits for the pass that takes in what was heard, and fails where that fails", async () => {
  const { node, policy, say, attachment } = await stand();
  await policy.sync();
  assert.equal(await policy.settle(attachment), 100);
  say(closed);
  policy.changed("cluster");
  node.machine.kernel.failNext("policy.ensure", broken);
  const pass = policy.sync();
  await assert.rejects(pass, /not now/);
  assert.equal(await policy.settle(attachment), 101, "it is still due");
  say();
  policy.changed("cluster");
  node.machine.kernel.failNext("policy.ensure", broken);
  await assert.rejects(policy.settle(attachment), /not now/);
});

void test("a pod that nothing judges is a member for others when ADD goes on, without a pass", async () => {
  const { policy, say, admitted } = await stand();
  say(fromWeb);
  await policy.sync();
  const entered = async (attachment: Wired, name: string): Promise<number> => {
    const { group, listed } = await policy.enter(attachment, podNamed(name));
    await listed;
    return group;
  };
  const web = testWired({ containerId: "web", pod: { namespace: "shop", name: "web", uid: "web" } });
  assert.equal(await entered(web, "web"), 100);
  assert.deepEqual(admitted, web.addresses);
  const pod = { namespace: "shop", name: "other", uid: "other" };
  const other = testWired({ containerId: "other", pod, addresses: [testIp("10.4.1.77")] });
  assert.equal(await entered(other, "other"), 100);
  assert.deepEqual(admitted, web.addresses, "one that no selector names is no member");
});

void test("a pod that came without a pass is known at once: no walk cuts what it may do, and what it may do no more is looked for", async () => {
  const { policy, say, narrowed, models, attachment } = await stand();
  say(fromWeb);
  await policy.sync();
  const web = testWired({ containerId: "web", pod: { namespace: "shop", name: "web", uid: "web" } });
  await (
    await policy.enter(web, podNamed("web"))
  ).listed;
  const [source, destination] = [web, attachment].map(({ addresses }) => present(addresses[0], "an address"));
  const packet = { source: present(source, "web"), destination: present(destination, "db"), protocol: 6 };
  assert.equal(createJudge(present(models.at(-1), "a model")).verdict({ ...packet, destinationPort: 80 }).passes, true);
  // The pool of this stand never lists it: to the next pass it is gone.
  policy.changed("attachments");
  await policy.sync();
  assert.equal(narrowed.at(-1), true);
});

void test("an address that sets still hold for another pod is given to the next one by a pass", async () => {
  const { policy, say, trusted } = await stand();
  say(fromWeb);
  await policy.sync();
  const web = testWired({ containerId: "web", pod: { namespace: "shop", name: "web", uid: "web" } });
  await (
    await policy.enter(web, podNamed("web"))
  ).listed;
  trusted.length = 0;
  const heir = testWired({ containerId: "heir", pod: { namespace: "shop", name: "other", uid: "other" } });
  await assert.rejects(policy.enter(heir, podNamed("other")), /class of fairlead\/heir/, "this stand never lists it");
  assert.equal(trusted.length, 1);
});

void test("a pod that needs a pass has none that reads all that the kernel holds", async () => {
  const { policy, say, trusted, attachment } = await stand();
  say(closed);
  await policy.sync();
  trusted.length = 0;
  assert.equal((await policy.enter(attachment, podNamed("db"))).group, 101);
  assert.deepEqual(trusted, [true]);
  await policy.sync();
  assert.equal(trusted.at(-1), true, "nor has the one of the loop, whose question was answered by then");
});

void test("a pod is judged on its way to itself before it leaves the guard, and until it is back; what it began until then is looked for", async () => {
  const { policy, say, guard, narrowed, told } = await stand();
  const pass = async (): Promise<string[]> => {
    told.length = 0;
    policy.changed("cluster");
    await policy.sync();
    return [...told];
  };
  say(closed);
  assert.deepEqual(await pass(), ["reaches itself"]);
  guard("off");
  assert.deepEqual(await pass(), ["is judged", "guard off"]);
  assert.deepEqual(await pass(), ["is judged"]);
  guard("on");
  assert.deepEqual(await pass(), ["is judged", "guard on", "reaches itself"]);
  assert.deepEqual(narrowed, [true, true, false, false]);
});
