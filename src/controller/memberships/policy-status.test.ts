// What people are told of their groups and bindings: in status, in events, and once only.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Replica, withLeader } from "../../../test/controller/replica.ts";
import { settle } from "../../../test/controller/settled.ts";
import { createTenants, shop, type Tenants } from "../../../test/controller/tenants.ts";
import type { World } from "../../../test/controller/world.ts";
import { events } from "../../kube/core-objects.ts";
import { securityGroupBindings, securityGroups } from "../../kube/policy-objects.ts";
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
      [2, 1, [["Accepted", "True"]]],
    );
    const group = await world.kube.get(securityGroups, { name: "db" });
    const later = "2027-01-01T00:00:00.000Z";
    assert.equal(groupStatus(group, 2, undefined, later), undefined, "what says so already is not written");
    assert.equal(groupStatus(group, 2, "bad", later)?.conditions?.[0]?.lastTransitionTime, later);
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
