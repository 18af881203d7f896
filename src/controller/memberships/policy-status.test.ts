// What people are told of their groups and bindings: in status, in events, and once only.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Replica, withLeader } from "../../../test/controller/replica.ts";
import { settle } from "../../../test/controller/settled.ts";
import { createTenants, shop, type Tenants } from "../../../test/controller/tenants.ts";
import type { World } from "../../../test/controller/world.ts";
import { events } from "../../kube/core-objects.ts";
import { nodeEndpoints, nodeNetworks } from "../../kube/objects.ts";
import { securityGroupBindings, securityGroups } from "../../kube/policy-objects.ts";
import { groupsMark } from "../../policy/mark.ts";
import { policyBypassed } from "../../kube/objects.ts";
import { statusEveryMs } from "./memberships.ts";
import { groupStatus } from "./policy-status.ts";

interface Scene {
  world: World;
  tenants: Tenants;
  /** Lets the leader work until statuses are what they should be. */
  work(): Promise<void>;
}

async function withScene(play: (scene: Scene) => Promise<void>): Promise<void> {
  await withLeader({ assign: "cluster", ranges: [], serviceRanges: [] }, async (world: World, leader: Replica) => {
    const tenants = await createTenants(world);
    await tenants.addNode("n1", "10.4.1.0/24");
    const work = async (): Promise<void> => {
      world.nowMs += statusEveryMs;
      await settle(world, leader);
    };
    await play({ world, tenants, work });
  });
}

const told = async ({ kube }: World): Promise<string[]> =>
  (await kube.list(events)).items
    .map(({ metadata, involvedObject, reason }) => `${metadata.namespace} ${involvedObject.kind} ${reason}`)
    .toSorted();

test("a group's status counts its members, whoever names it, and follows them", () =>
  withScene(async ({ world, tenants, work }) => {
    await tenants.group("db");
    await tenants.bind("all", { podSelector: {}, groups: ["db"] });
    await tenants.addPod("a", { node: "n1", addresses: ["10.4.1.2"] });
    await tenants.addPod("b", { node: "n1", addresses: ["10.4.1.3"] });
    await tenants.addPod("early", { node: "n1" });
    await work();
    const statusOf = async () => (await world.kube.get(securityGroups, { name: "db" })).status;
    const first = await statusOf();
    assert.deepEqual(
      [first?.members, first?.observedGeneration, first?.conditions?.map(({ type, status }) => [type, status])],
      [
        2,
        1,
        [
          ["Accepted", "True"],
          ["Enforced", "False"],
        ],
      ],
    );
    const group = await world.kube.get(securityGroups, { name: "db" });
    const later = "2027-01-01T00:00:00.000Z";
    const enforcement = { nodesTotal: 1, nodesEnforcing: 0, behind: ["n1"], bypassed: [] };
    const facts = { members: 2, problem: undefined, enforcement };
    assert.equal(groupStatus(group, facts, later), undefined, "what says so already is not written");
    const bad = groupStatus(group, { ...facts, problem: "bad" }, later)?.conditions ?? [];
    assert.deepEqual(
      bad.map(({ lastTransitionTime }) => lastTransitionTime === later),
      [true, false],
    );
    await tenants.setPhase("b", "Failed");
    await work();
    assert.equal((await statusOf())?.members, 1);
    assert.deepEqual(await told(world), []);
  }));

test("a binding says which groups it cannot have and why; so does an event in its namespace, once", () =>
  withScene(async ({ world, tenants, work }) => {
    await tenants.group("open");
    await tenants.group("closed", { bindableFrom: { matchLabels: { team: "other" } } });
    await tenants.bind("mixed", { podSelector: {}, groups: ["open", "closed", "missing"] });
    await work();
    const statusOf = async () =>
      (await world.kube.get(securityGroupBindings, { name: "mixed", namespace: shop })).status;
    const status = await statusOf();
    assert.deepEqual(status?.refused, [
      { group: "closed", reason: "NotBindable" },
      { group: "missing", reason: "Unknown" },
    ]);
    const [condition] = status?.conditions ?? [];
    assert.deepEqual([condition?.status, condition?.reason], ["False", "NotBindable"]);
    assert.match(condition?.message ?? "", /SecurityGroup closed may not be bound from namespace shop .*there is no/);
    const events = ["shop SecurityGroupBinding NotBindable", "shop SecurityGroupBinding Unknown"];
    assert.deepEqual(await told(world), events);
    await tenants.group("missing");
    await work();
    assert.deepEqual((await statusOf())?.refused, [{ group: "closed", reason: "NotBindable" }]);
    assert.deepEqual(await told(world), events);
  }));

test("what of a policy cannot be understood is told on it", () =>
  withScene(async ({ world, tenants, work }) => {
    // Both servers let this in: the length of a selector has no bound of theirs.
    const values = Array.from({ length: 200 }, (_, at) => `${"v".repeat(58)}-${at}`);
    const from = [{ podSelector: { matchExpressions: [{ key: "app", operator: "In", values }] } }];
    await tenants.policy("long", { podSelector: {}, ingress: [{ from }] });
    await work();
    assert.deepEqual(await told(world), ["shop NetworkPolicy Invalid"]);
  }));

/** What agents say of the groups by which they judge, as the server has the groups now. */
async function markNow({ kube }: World): Promise<string> {
  return groupsMark((await kube.list(securityGroups)).items);
}

test("a group's status says on how many nodes with members it is enforced, and why not on all", () =>
  withScene(async ({ world, tenants, work }) => {
    await tenants.addNode("n2", "10.4.2.0/24");
    await tenants.addNode("n3", "10.4.3.0/24");
    await tenants.group("db");
    await tenants.group("idle");
    await tenants.bind("all", { podSelector: {}, groups: ["db"] });
    await tenants.addPod("a", { node: "n1", addresses: ["10.4.1.2"] });
    await tenants.addPod("b", { node: "n2", addresses: ["10.4.2.2"] });
    const says = async (name: string, groups: string | null): Promise<void> =>
      void (await world.kube.patch(nodeEndpoints, { name }, { type: "merge", body: { policy: groups && { groups } } }));
    const bypassed = async (name: string, faults: object[] | null): Promise<void> =>
      void (await world.kube.patch(nodeNetworks, { name }, { type: "merge", body: { spec: { faults } } }));
    const statusOf = async (name: string): Promise<unknown> => {
      await work();
      const {
        nodesEnforcing,
        nodesTotal,
        conditions = [],
      } = (await world.kube.get(securityGroups, { name })).status ?? assert.fail("no status");
      const enforced = conditions.find(({ type }) => type === "Enforced") ?? assert.fail("no condition");
      return [nodesEnforcing, nodesTotal, enforced.reason, enforced.message];
    };
    assert.deepEqual(await statusOf("db"), [0, 2, "Pending", "not yet, or not any more, on n1, n2"]);
    assert.deepEqual(await statusOf("idle"), [0, 0, "NoMembers", "no node has members"]);
    await says("n1", await markNow(world));
    assert.deepEqual(await statusOf("db"), [1, 2, "Pending", "not yet, or not any more, on n2"]);
    await says("n2", await markNow(world));
    assert.deepEqual(await statusOf("db"), [2, 2, "Enforced", "on every node that has members"]);
    await world.kube.patch(securityGroups, { name: "db" }, { type: "merge", body: { spec: { egress: [] } } });
    assert.deepEqual(await statusOf("db"), [0, 2, "Pending", "not yet, or not any more, on n1, n2"]);
    await says("n1", await markNow(world));
    await says("n2", await markNow(world));
    assert.deepEqual(await statusOf("db"), [2, 2, "Enforced", "on every node that has members"]);
    const fault = { code: policyBypassed, message: "IPVS", since: "2027-01-01T00:00:00.000Z" };
    await bypassed("n2", [fault]);
    const message = "something goes round policy on n2; see its NodeNetwork's faults, or fairlead check there";
    assert.deepEqual(await statusOf("db"), [1, 2, "Bypassed", message], "whatever the agent says of its groups");
  }));

test("a binding's status counts the pods that it selects, whoever gets the groups", () =>
  withScene(async ({ world, tenants, work }) => {
    await tenants.group("db");
    await tenants.bind("web", { podSelector: { matchLabels: { app: "web" } }, groups: ["db", "missing"] });
    await tenants.bind("none", { podSelector: { matchLabels: { app: "other" } }, groups: ["db"] });
    await tenants.addPod("a", { node: "n1", addresses: ["10.4.1.2"], labels: { app: "web" } });
    await tenants.addPod("early", { node: "n1", labels: { app: "web" } });
    await tenants.addPod("host", { node: "n1", labels: { app: "web" }, hostNetwork: true });
    const podsOf = async (name: string): Promise<number | undefined> =>
      (await world.kube.get(securityGroupBindings, { name, namespace: shop })).status?.pods;
    await work();
    assert.deepEqual([await podsOf("web"), await podsOf("none")], [2, 0]);
    await tenants.setPhase("a", "Succeeded");
    await work();
    assert.equal(await podsOf("web"), 1);
  }));
