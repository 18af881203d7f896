// What people are told of their groups and bindings: in status, in events, and once only.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Replica, startReplica, withLeader } from "../../../test/controller/replica.ts";
import { settle } from "../../../test/controller/settled.ts";
import { createTenants, shop, type Tenants } from "../../../test/controller/tenants.ts";
import { createWorld, type World } from "../../../test/controller/world.ts";
import { within } from "../../base/pause.ts";
import { isFault } from "../../base/fault.ts";
import type { Kind, KubeObject } from "../../kube/contract.ts";
import { events, nodes } from "../../kube/core-objects.ts";
import { nodeEndpoints, nodeNetworks } from "../../kube/objects.ts";
import { namespaces, securityGroupBindings, securityGroups } from "../../kube/policy-objects.ts";
import { groupsMark } from "../../policy/mark.ts";
import { policyBypassed, policyOpened } from "../../kube/objects.ts";
import { breakGlassAnnotation } from "../../policy/break-glass.ts";
import { createMembershipKeeper, type MembershipKeeper } from "./memberships.ts";
import { createPolicyStatuses, statusEveryMs } from "./policy-statuses.ts";
import { groupStatus } from "./policy-status.ts";

interface Scene {
  world: World;
  leader: Replica;
  tenants: Tenants;
  /** Lets the leader work until statuses are what they should be. */
  work(): Promise<void>;
  /** One more that keeps memberships over the same caches. */
  keeper: MembershipKeeper;
}

async function withScene(play: (scene: Scene) => Promise<void>): Promise<void> {
  await withLeader({ assign: "cluster", ranges: [], serviceRanges: [] }, async (world: World, leader: Replica) => {
    const tenants = await createTenants(world);
    await tenants.addNode("n1", "10.4.1.0/24");
    const work = async (): Promise<void> => {
      world.nowMs += statusEveryMs;
      await settle(world, leader);
    };
    const keeper = createMembershipKeeper({ ...leader.deps, statuses: createPolicyStatuses(leader.deps) });
    await play({ world, leader, tenants, work, keeper });
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
    const enforcement = { nodesTotal: 1, nodesEnforcing: 0, behind: ["n1"], bypassed: [], opened: [], openedBy: [] };
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
    assert.deepEqual(await told(world), ["shop SecurityGroupBinding NotBindable"], "one event for both");
    await tenants.group("missing");
    await work();
    assert.deepEqual((await statusOf())?.refused, [{ group: "closed", reason: "NotBindable" }]);
    assert.deepEqual(await told(world), Array(2).fill("shop SecurityGroupBinding NotBindable"), "it says less");
    await work();
    assert.equal((await told(world)).length, 2);
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

/** The annotation of break-glass from a minute ago, for an hour. */
const lastingNow = ({ nowMs }: World): string =>
  [nowMs - 60_000, nowMs + 3_600_000].map((ms) => new Date(ms).toISOString()).join("/");

test("a node does not count as enforcing while break-glass opens members there, and the status says whose", () =>
  withScene(async ({ world, tenants, work }) => {
    const { kube } = world;
    await tenants.addNode("n2", "10.4.2.0/24");
    await tenants.addNamespace("bank");
    await tenants.addNamespace("empty");
    await tenants.group("db");
    await tenants.bind("all", { podSelector: {}, groups: ["db"] });
    const metadata = { name: "all", namespace: "bank" };
    await kube.create(securityGroupBindings, { metadata, spec: { podSelector: {}, groups: ["db"] } });
    await tenants.addPod("a", { node: "n1", addresses: ["10.4.1.2"] });
    await tenants.addPod("b", { node: "n2", addresses: ["10.4.2.2"], namespace: "bank" });
    await tenants.addPod("c", { node: "n2", addresses: ["10.4.2.3"], namespace: "bank" });
    const body = { policy: { groups: await markNow(world) } };
    for (const name of ["n1", "n2"]) await kube.patch(nodeEndpoints, { name }, { type: "merge", body });
    const annotate = async (kind: Kind<KubeObject>, name: string, value: string | null): Promise<void> => {
      const annotations = { [breakGlassAnnotation]: value };
      await kube.patch(kind, { name }, { type: "merge", body: { metadata: { annotations } } });
    };
    const enforced = async (): Promise<unknown> => {
      await work();
      const { status } = await kube.get(securityGroups, { name: "db" });
      const { reason, message } = status?.conditions?.find(({ type }) => type === "Enforced") ?? {};
      return [status?.nodesEnforcing, status?.nodesTotal, reason, message];
    };
    const whole = [2, 2, "Enforced", "on every node that has members"];
    const opened = (object: string, nodesOpened: string, count: number): unknown[] => {
      const message = `break-glass of ${object}: members on ${nodesOpened} are denied nothing`;
      return [count, 2, "BreakGlass", message];
    };
    await annotate(namespaces, "empty", lastingNow(world));
    assert.deepEqual(await enforced(), whole, "nobody there is a member");
    await annotate(nodes, "n2", lastingNow(world));
    assert.deepEqual(await enforced(), opened("Node n2", "n2", 1));
    await annotate(namespaces, "shop", lastingNow(world));
    assert.deepEqual(await enforced(), opened("Namespace shop, Node n2", "n1, n2", 0));
    await annotate(nodes, "n2", null);
    assert.deepEqual(await enforced(), opened("Namespace shop", "n1", 1));
    world.nowMs += 3_600_000;
    assert.deepEqual(await enforced(), whole, "its time is over");
    await annotate(nodes, "n1", "soon");
    assert.deepEqual(await enforced(), whole, "it opens nothing");
    const says = async (message: string): Promise<void> => {
      const faults = [{ code: policyOpened, message, since: "2027-01-01T00:00:00.000Z" }];
      await kube.patch(nodeNetworks, { name: "n1" }, { type: "merge", body: { spec: { faults } } });
    };
    await says("policy denies pods nothing by break-glass of Namespace bank until 2027-01-01T01:00:00Z");
    assert.deepEqual(await enforced(), whole, "no member on that node is of that namespace");
    await says("policy denies pods nothing by break-glass of Namespace shop until 2027-01-01T01:00:00Z");
    assert.deepEqual(
      await enforced(),
      opened("Namespace shop", "n1", 1),
      "whatever is annotated, its agent still opens",
    );
  }));

test("a status is due when break-glass begins or ends", () =>
  withScene(async ({ world, tenants, work, keeper }) => {
    await tenants.group("db");
    const begins = world.nowMs + 20_000;
    const value = [begins, begins + 30_000].map((ms) => new Date(ms).toISOString()).join("/");
    const body = { metadata: { annotations: { [breakGlassAnnotation]: value } } };
    await world.kube.patch(namespaces, { name: shop }, { type: "merge", body });
    await work();
    const signal = new AbortController().signal;
    await keeper.sync(signal);
    assert.equal(keeper.dueMs(), begins - world.nowMs);
    world.nowMs = begins + 10;
    assert.ok(keeper.dueMs() > 0, "what is late is no reason to turn in circles");
    await keeper.sync(signal);
    assert.equal(keeper.dueMs(), 29_990);
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

test("a status that is refused keeps no other waiting, and is told on its object", () =>
  withScene(async ({ world, tenants, work }) => {
    await tenants.group("db");
    await tenants.group("idle");
    await tenants.bind("web", { podSelector: {}, groups: ["db"] });
    const effect = { does: "answer", status: 422, reason: "Invalid", message: "no such status here" } as const;
    const refused = { verb: "patch", resource: "securitygroups", subresource: "status", name: "db" } as const;
    world.server.faults.add({ ...refused, effect });
    await work();
    const statuses = [
      (await world.kube.get(securityGroups, { name: "db" })).status,
      (await world.kube.get(securityGroups, { name: "idle" })).status?.members,
      (await world.kube.get(securityGroupBindings, { name: "web", namespace: shop })).status?.pods,
    ];
    assert.deepEqual(statuses, [undefined, 0, 0]);
    assert.deepEqual(await told(world), ["default SecurityGroup WriteRefused"]);
  }));

test("where the server takes no status of a group, those of bindings are written all the same", () =>
  withScene(async ({ world, leader, tenants }) => {
    await tenants.group("db");
    await tenants.bind("web", { podSelector: {}, groups: ["missing"] });
    const effect = { does: "answer", status: 500, reason: "InternalError", message: "not now" } as const;
    world.server.faults.add({ verb: "patch", resource: "securitygroups", subresource: "status", effect });
    await leader.catchUp();
    await leader.passOf("memberships");
    await assert.rejects(leader.passOf("policy-status"), (error) => isFault(error, "kube-busy"));
    const { status } = await world.kube.get(securityGroupBindings, { name: "web", namespace: shop });
    assert.equal(status?.pods, 0);
    assert.deepEqual(await told(world), ["shop SecurityGroupBinding Unknown"]);
    world.server.faults.clear();
    await leader.passOf("policy-status");
    assert.equal((await world.kube.get(securityGroups, { name: "db" })).status?.members, 0, "it is tried again");
  }));

test("no slice waits for a status or an event", async (t) => {
  const world = await createWorld({ assign: "cluster", ranges: [], serviceRanges: [] });
  const unanswered = /^(PATCH securitygroup|POST events)/;
  const leader = await startReplica(world, {
    cross: async (what, call) => await (unanswered.test(what) ? new Promise<never>(() => {}) : call()),
  });
  t.after(async () => {
    await leader.close();
    await world.close();
  });
  const tenants = await createTenants(world);
  await tenants.addNode("n1", "10.4.1.0/24");
  await tenants.group("db");
  for (const app of ["web", "other"])
    await tenants.policy(app, { podSelector: {}, ingress: [{ from: [{ podSelector: { matchLabels: { app } } }] }] });
  for (let at = 0; at < 50; at += 1)
    await tenants.addPod(`p${at}`, { labels: { app: "web" }, node: "n1", addresses: [`10.4.1.${at + 2}`] });
  await tenants.addPod("a", { labels: { app: "other" }, node: "n1", addresses: ["10.4.1.99"] });
  await leader.catchUp();
  await leader.passOf("memberships");
  assert.equal(await within(100, leader.passOf("policy-status")), false, "nobody takes the status");
  await tenants.publish("n1", []);
  await leader.catchUp();
  assert.ok(await within(10_000, leader.passOf("memberships")), "though the loss of many is to be told");
  const slices = Object.values(await tenants.slices()).flatMap(Object.values);
  assert.deepEqual(
    slices.map(({ length }) => length),
    [50],
  );
});

test("a status speaks of the version that was judged, though more was written and heard of meanwhile", () =>
  withScene(async ({ world, leader, tenants, work }) => {
    await tenants.group("db");
    await leader.catchUp();
    await leader.passOf("memberships");
    await tenants.group("late");
    await tenants.bind("late", { podSelector: {}, groups: ["late"] });
    await leader.catchUp();
    await leader.passOf("policy-status");
    const statusesOf = async () => [
      (await world.kube.get(securityGroups, { name: "late" })).status?.members,
      (await world.kube.get(securityGroupBindings, { name: "late", namespace: shop })).status?.conditions?.[0]?.reason,
    ];
    assert.deepEqual(await statusesOf(), [undefined, undefined]);
    assert.deepEqual(await told(world), []);
    await work();
    assert.deepEqual(await statusesOf(), [0, "Accepted"]);
  }));
