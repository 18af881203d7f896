// Slices follow what people write and what agents publish, and believe nothing that does not agree.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Replica } from "../../../test/controller/replica.ts";
import { createLife } from "../../../test/controller/crossing.ts";
import { defineKindOfAws } from "../../../test/controller/kinds.ts";
import { startReplica, withLeader } from "../../../test/controller/replica.ts";
import { settle } from "../../../test/controller/settled.ts";
import { createTenants, type Tenants } from "../../../test/controller/tenants.ts";
import { createWorld, type World, type WorldConfig } from "../../../test/controller/world.ts";
import { events, nodes } from "../../kube/core-objects.ts";
import { nodeNetworks } from "../../kube/objects.ts";
import { networkPolicies, securityGroupPolicies } from "../../kube/policy-objects.ts";
import type { Caches } from "../deps.ts";
import { massSettleMs } from "./losses.ts";
import { createMembershipKeeper } from "./memberships.ts";
import { unneededSettleMs } from "./needs.ts";
import { createPolicyStatuses } from "./policy-statuses.ts";

const config: WorldConfig = { assign: "cluster", ranges: [], serviceRanges: [] };
const webs = { podSelector: { matchLabels: { app: "web" } } };
const fromWebs = { podSelector: {}, ingress: [{ from: [webs] }] };
const peerOfWebs = "pods app=web of namespaces kubernetes.io/metadata.name=shop";

interface Scene {
  world: World;
  leader: Replica;
  tenants: Tenants;
  /** Lets the leader work, then gives the slices. */
  told(): Promise<Record<string, Record<string, string[]>>>;
}

/** A cluster with two nodes and a policy that names the pods app=web. */
async function withScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  await withLeader(config, async (world, leader) => {
    const tenants = await createTenants(world);
    await tenants.addNode("n1", "10.4.1.0/24", "fd00:4:0:1::/64");
    await tenants.addNode("n2", "10.4.2.0/24");
    await tenants.policy("webs", fromWebs);
    const told = async () => {
      await settle(world, leader);
      return await tenants.slices();
    };
    await work({ world, leader, tenants, told });
  });
}

const web = { labels: { app: "web" } };

test("a selector's slice holds the addresses and named ports of the pods that it selects", () =>
  withScene(async ({ tenants, told, world }) => {
    await tenants.addPod("a", { ...web, node: "n1", addresses: ["10.4.1.2", "fd00:4:0:1::2"] });
    const ports = [{ name: "http", containerPort: 8080 }, { containerPort: 1 }];
    await tenants.addPod("b", { ...web, node: "n2", addresses: ["10.4.2.2"], ports });
    await tenants.addPod("c", { labels: { app: "db" }, node: "n2", addresses: ["10.4.2.3"] });
    await tenants.addPod("host", { ...web, node: "n2", hostNetwork: true });
    await tenants.addPod("early", { ...web, node: "n2" });
    assert.deepEqual(await told(), { [peerOfWebs]: { "0": ["10.4.1.2,fd00:4:0:1::2", "10.4.2.2"] } });
    const [slice] = world.server.store.list("fairlead.dev/membershipslices") ?? [];
    assert.deepEqual(slice?.object["endpoints"], [
      { addresses: ["10.4.1.2", "fd00:4:0:1::2"] },
      { addresses: ["10.4.2.2"], ports: [{ name: "http", protocol: "TCP", port: 8080 }] },
    ]);
  }));

test("a membership ends with the label, the phase, the attachment, the pod and the node", () =>
  withScene(async ({ tenants, told, world }) => {
    for (const [at, name] of ["label", "phase", "attachment", "pod", "stays"].entries())
      await tenants.addPod(name, { ...web, node: "n1", addresses: [`10.4.1.${at + 2}`] });
    await tenants.addPod("node", { ...web, node: "n2", addresses: ["10.4.2.2"] });
    const left = async () => Object.values((await told())[peerOfWebs] ?? {}).flat();
    assert.equal((await left()).length, 6);
    await tenants.label("label", { app: null });
    assert.ok(!(await left()).includes("10.4.1.2"));
    await tenants.setPhase("phase", "Succeeded");
    assert.ok(!(await left()).includes("10.4.1.3"));
    await tenants.detach("attachment");
    assert.ok(!(await left()).includes("10.4.1.4"));
    await tenants.removePod("pod");
    assert.ok(!(await left()).includes("10.4.1.5"));
    await world.removeNode("n2");
    assert.deepEqual(await left(), ["10.4.1.6"]);
  }));

test("what an agent publishes counts only where pod, node and blocks agree", () =>
  withScene(async ({ tenants, told }) => {
    await tenants.addPod("outside", { ...web, node: "n1", addresses: ["10.4.2.7"] });
    await tenants.addPod("half", { ...web, node: "n1", addresses: ["10.4.1.3", "fd00:4:0:9::3"] });
    assert.deepEqual(await told(), { [peerOfWebs]: { "0": ["10.4.1.3"] } }, "another node's block, nobody's block");
    const uid = await tenants.addPod("elsewhere", { ...web, node: "n2" });
    const endpoint = { namespace: "shop", interface: "eth0" };
    const address = (text: string) => [text] as never;
    await tenants.publish("n1", [
      { ...endpoint, name: "half", uid: "another", addresses: address("10.4.1.9") },
      { ...endpoint, name: "elsewhere", uid, addresses: address("10.4.1.10") },
    ]);
    assert.deepEqual(await told(), {}, "another uid, another node");
    await tenants.publish("n2", [{ ...endpoint, name: "other", uid, addresses: address("10.4.2.10") }]);
    assert.deepEqual(await told(), {}, "another name");
    await tenants.publish("n2", [{ ...endpoint, name: "elsewhere", uid, addresses: address("10.4.2.10") }]);
    assert.deepEqual(await told(), { [peerOfWebs]: { "0": ["10.4.2.10"] } });
  }));

test("what a node of the same name has left counts for nothing", () =>
  withScene(async ({ leader, tenants, told, world }) => {
    const left = await tenants.addPod("a", { ...web, node: "n2", addresses: ["10.4.2.2"] });
    await world.removeNode("n2");
    // Its NodeNetwork is the new node's already; what stands in NodeEndpoints is of the old one.
    await world.addNode("n2", { podCIDRs: ["10.4.2.0/24"] });
    const nodeUid = (await world.kube.get(nodes, { name: "n2" })).metadata.uid;
    const body = { spec: { nodeUid }, status: { nodeUid } };
    await world.kube.patch(nodeNetworks, { name: "n2" }, { type: "merge", body });
    await world.kube.patch(nodeNetworks, { name: "n2" }, { type: "merge", body }, { subresource: "status" });
    await leader.catchUp();
    await leader.passOf("memberships");
    assert.deepEqual(await tenants.slices(), {});
    await world.runAgent("n2");
    const endpoint = { namespace: "shop", name: "a", uid: left, interface: "eth0" };
    await tenants.publish("n2", [{ ...endpoint, addresses: ["10.4.2.2"] as never }]);
    assert.deepEqual(await told(), { [peerOfWebs]: { "0": ["10.4.2.2"] } });
  }));

test("nothing is written before every kind has been listed", () =>
  withScene(async ({ leader, tenants, world }) => {
    await tenants.addPod("a", { ...web, node: "n1", addresses: ["10.4.1.2"] });
    await leader.catchUp();
    const signal = new AbortController().signal;
    for (const name of Object.keys(leader.deps.caches) as (keyof Caches)[]) {
      const cache = { ...leader.deps.caches[name], synced: () => false };
      const deps = { ...leader.deps, caches: { ...leader.deps.caches, [name]: cache } };
      const keeper = createMembershipKeeper({ ...deps, statuses: createPolicyStatuses(deps) });
      const before = world.server.store.version();
      await keeper.sync(signal);
      assert.equal(world.server.store.version(), before, name);
    }
  }));

test("members of a group are those that bindings make members, where the group may be bound", () =>
  withScene(async ({ tenants, told }) => {
    await tenants.addServiceAccount("seller", { team: "sales" });
    await tenants.group("db", { ingress: [{ from: [{ securityGroup: "sellers" }, { securityGroup: "closed" }] }] });
    await tenants.group("sellers");
    await tenants.group("closed", { bindableFrom: { matchLabels: { team: "other" } } });
    await tenants.bind("sellers", {
      serviceAccountSelector: { matchLabels: { team: "sales" } },
      groups: ["sellers", "closed"],
    });
    await tenants.addPod("a", { node: "n1", addresses: ["10.4.1.2"], serviceAccountName: "seller" });
    await tenants.addPod("b", { node: "n1", addresses: ["10.4.1.3"] });
    assert.deepEqual(await told(), { "members of SecurityGroup sellers": { "0": ["10.4.1.2"] } });
  }));

test("where many attachments vanish at once, slices keep them for a while, and say so once", () =>
  withScene(async ({ tenants, told, world }) => {
    for (let at = 0; at < 50; at += 1)
      await tenants.addPod(`p${at}`, { ...web, node: "n1", addresses: [`10.4.1.${at + 2}`] });
    const count = async () => Object.values((await told())[peerOfWebs] ?? {}).flat().length;
    assert.equal(await count(), 50);
    await tenants.publish("n1", []);
    assert.equal(await count(), 50);
    world.nowMs += massSettleMs - 1;
    assert.equal(await count(), 50);
    world.nowMs += 1;
    assert.equal(await count(), 0);
    const reasons = (await world.kube.list(events)).items.map(({ reason }) => reason);
    assert.deepEqual(reasons, ["MassRemovalWaits"]);
  }));

test("SecurityGroupPolicies bind pods as bindings do, in a cluster that has them", async (t) => {
  const world = await createWorld(config);
  t.after(() => world.close());
  await defineKindOfAws(world.kube);
  const tenants = await createTenants(world);
  await tenants.addNode("n1", "10.4.1.0/24");
  await tenants.group("db", { ingress: [{ from: [{ securityGroup: "sg-0123" }] }] });
  await tenants.group("sg-0123");
  const metadata = { name: "web", namespace: "shop" };
  const spec = { podSelector: { matchLabels: { app: "web" } }, securityGroups: { groupIds: ["sg-0123", "sg-none"] } };
  await world.kube.create(securityGroupPolicies, { metadata, spec });
  await tenants.addPod("a", { ...web, node: "n1", addresses: ["10.4.1.2"] });
  const leader = await startReplica(world, createLife());
  t.after(() => leader.close());
  await settle(world, leader);
  assert.deepEqual(await tenants.slices(), { "members of SecurityGroup sg-0123": { "0": ["10.4.1.2"] } });
  const told = (await world.kube.list(events)).items.map(({ involvedObject: { kind }, reason }) => [kind, reason]);
  assert.deepEqual(told, [["SecurityGroupPolicy", "Unknown"]]);
});

test("slices that nothing names go after a while, and until then they are kept up", () =>
  withScene(async ({ tenants, told, world }) => {
    await tenants.addPod("a", { ...web, node: "n1", addresses: ["10.4.1.2"] });
    await tenants.addPod("b", { ...web, node: "n1", addresses: ["10.4.1.3"] });
    await told();
    await world.kube.remove(networkPolicies, { name: "webs", namespace: "shop" });
    await tenants.detach("b");
    assert.deepEqual(await told(), { [peerOfWebs]: { "0": ["10.4.1.2"] } });
    world.nowMs += unneededSettleMs - 1;
    assert.notDeepEqual(await told(), {});
    world.nowMs += 1;
    assert.deepEqual(await told(), {});
  }));
