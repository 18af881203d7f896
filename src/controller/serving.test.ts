// A leader's passes on a small cluster: what it writes, what it adopts, what it reports, what it leaves alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../base/assert.ts";
import { events, nodes } from "../kube/core-objects.ts";
import { type NodeNetwork, nodeNetworks } from "../kube/objects.ts";
import { parseCidr } from "../net/cidr.ts";
import { withLeader } from "../../test/controller/replica.ts";
import { checkSettled, settle } from "../../test/controller/settled.ts";
import type { World, WorldConfig } from "../../test/controller/world.ts";

const cidr = (text: string) => present(parseCidr(text), text);
const dual: WorldConfig = {
  assign: "fairlead",
  ranges: [
    { cidr: cidr("10.64.0.0/21"), blockPrefix: 24 },
    { cidr: cidr("fd00:64::/61"), blockPrefix: 64 },
  ],
  serviceRanges: [cidr("10.64.1.0/24")],
};
const single: WorldConfig = { ...dual, ranges: [{ cidr: cidr("10.64.0.0/22"), blockPrefix: 24 }] };
const byCluster: WorldConfig = { assign: "cluster", ranges: [], serviceRanges: [] };

const podCIDRs = async ({ kube }: World, name: string) => (await kube.get(nodes, { name })).spec.podCIDRs;
const statusOf = async ({ kube }: World, name: string): Promise<NonNullable<NodeNetwork["status"]>> =>
  present((await kube.get(nodeNetworks, { name })).status, `the status of ${name}`);
const conditionOf = async (world: World, name: string) => {
  const [condition] = (await statusOf(world, name)).conditions ?? [];
  return present(condition, `a condition of ${name}`);
};
const networkUnavailable = async ({ kube }: World, name: string) => {
  const condition = (await kube.get(nodes, { name })).status.conditions?.find(
    ({ type }) => type === "NetworkUnavailable",
  );
  return condition && [condition.status, condition.reason];
};
const reasons = async ({ kube }: World): Promise<string[]> =>
  (await kube.list(events)).items.map(({ involvedObject, reason }) => `${involvedObject.name} ${reason ?? ""}`).sort();

test("nodes get a block of each family, with and without an agent; who left gives back", () =>
  withLeader(dual, async (world, leader) => {
    for (const name of ["a", "b", "c"]) await world.addNode(name);
    for (const name of ["a", "b"]) await world.runAgent(name);
    await settle(world, leader);
    await checkSettled(world);
    const { spec } = await world.kube.get(nodes, { name: "c" });
    assert.deepEqual([spec.podCIDR, spec.podCIDRs?.length], [spec.podCIDRs?.[0], 2]);
    assert.equal(await networkUnavailable(world, "c"), undefined, "a node without an agent is none of ours yet");
    await world.removeNode("b");
    await world.addNode("d");
    await world.runAgent("c");
    await settle(world, leader);
    await checkSettled(world);
    assert.equal((await world.kube.list(nodeNetworks)).items.length, 2);
    assert.deepEqual(await reasons(world), []);
  }));

test("on an old cluster everything that nodes have is adopted before anything is given", () =>
  withLeader(single, async (world, leader) => {
    await world.addNode("new");
    await world.addNode("old", { podCIDRs: ["10.64.0.0/24"] });
    for (const name of ["new", "old"]) await world.runAgent(name);
    await settle(world, leader);
    assert.deepEqual(
      [await podCIDRs(world, "old"), await podCIDRs(world, "new")],
      [["10.64.0.0/24"], ["10.64.2.0/24"]],
    );
    await checkSettled(world);
  }));

test("a full range is told with words and numbers, and who waits is served when a block comes free", () =>
  withLeader(single, async (world, leader) => {
    for (const name of ["a", "b", "c", "d"]) {
      world.nowMs += 1000;
      await world.addNode(name);
      await world.runAgent(name);
      await settle(world, leader);
    }
    await checkSettled(world, new Set(["d"]));
    const { status, reason, message } = await conditionOf(world, "d");
    assert.deepEqual([status, reason], ["False", "RangeFull"]);
    assert.match(message, /none of the 4 blocks of 10\.64\.0\.0\/22 is free: 3 are given, 1 are kept for services/);
    assert.deepEqual(await networkUnavailable(world, "d"), ["True", "FairleadRangeFull"]);
    assert.deepEqual(await reasons(world), ["d RangeFull"], "told once, however many passes see it");
    await world.removeNode("a");
    await settle(world, leader);
    await checkSettled(world);
  }));

test("podCIDRs outside the ranges, of another size or inside services are served, and told", () =>
  withLeader(dual, async (world, leader) => {
    await world.addNode("outside", { podCIDRs: ["192.168.7.0/24", "fd00:64:0:4::/64"] });
    await world.addNode("wide", { podCIDRs: ["10.64.6.0/23", "fd00:64:0:5::/64"] });
    await world.addNode("service", { podCIDRs: ["10.64.1.0/24", "fd00:64:0:6::/64"] });
    for (const name of ["outside", "wide", "service"]) await world.runAgent(name);
    await settle(world, leader);
    await checkSettled(world);
    const told = await Promise.all(["outside", "wide", "service"].map((name) => conditionOf(world, name)));
    assert.deepEqual(
      told.map(({ status, reason }) => `${status} ${reason}`),
      ["True OutsideRanges", "True OtherSize", "True ServiceRange"],
    );
    assert.deepEqual(await reasons(world), ["outside OutsideRanges", "service ServiceRange", "wide OtherSize"]);
  }));

test("of two nodes with one podCIDR the second gets no blocks, and neither Node is changed", () =>
  withLeader(single, async (world, leader) => {
    await world.addNode("first", { podCIDRs: ["10.64.2.0/24"] });
    await world.runAgent("first");
    await settle(world, leader);
    await world.addNode("second", { podCIDRs: ["10.64.2.0/25"] });
    await world.runAgent("second");
    await settle(world, leader);
    assert.deepEqual((await statusOf(world, "second")).blocks, []);
    const { status, reason, message } = await conditionOf(world, "second");
    assert.deepEqual([status, reason], ["False", "Overlap"]);
    assert.match(message, /10\.64\.2\.0\/25 overlaps 10\.64\.2\.0\/24 of first/);
    assert.deepEqual(
      [await podCIDRs(world, "first"), await podCIDRs(world, "second")],
      [["10.64.2.0/24"], ["10.64.2.0/25"]],
    );
    assert.equal((await conditionOf(world, "first")).status, "True");
    assert.deepEqual(await reasons(world), ["second Overlap"]);
    assert.deepEqual(await networkUnavailable(world, "second"), ["True", "FairleadOverlap"]);
  }));

test("assign: cluster follows podCIDRs and never writes them, with ranges and without", async () => {
  for (const config of [byCluster, { ...single, assign: "cluster" as const }]) {
    await withLeader(config, async (world, leader) => {
      await world.addNode("served", { podCIDRs: ["10.64.3.0/24"] });
      await world.addNode("waiting");
      for (const name of ["served", "waiting"]) await world.runAgent(name);
      await settle(world, leader);
      assert.deepEqual((await statusOf(world, "served")).blocks, [{ cidr: "10.64.3.0/24" }]);
      assert.equal(await podCIDRs(world, "waiting"), undefined);
      assert.deepEqual((await conditionOf(world, "waiting")).reason, "NoPodCIDR");
      assert.deepEqual(await reasons(world), [], "to wait for the cluster is nothing to warn of");
      await world.kube.patch(
        nodes,
        { name: "waiting" },
        { type: "merge", body: { spec: { podCIDRs: ["10.64.2.0/24"] } } },
      );
      await settle(world, leader);
      assert.deepEqual((await statusOf(world, "waiting")).blocks, [{ cidr: "10.64.2.0/24" }]);
      assert.deepEqual(await networkUnavailable(world, "waiting"), ["False", "FairleadReady"]);
    });
  }
});

test("a node's addresses are followed", () =>
  withLeader(dual, async (world, leader) => {
    await world.addNode("a");
    await world.runAgent("a");
    await settle(world, leader);
    const addresses = [
      { type: "Hostname", address: "a" },
      { type: "InternalIP", address: "172.30.9.9" },
      { type: "InternalIP", address: "FD00:30::0:9" },
      { type: "ExternalIP", address: "203.0.113.9" },
    ];
    const body = { status: { addresses } };
    await world.kube.patch(nodes, { name: "a" }, { type: "merge", body }, { subresource: "status" });
    await settle(world, leader);
    assert.deepEqual((await statusOf(world, "a")).addresses, ["172.30.9.9", "fd00:30::9"]);
  }));

test("a node of the same name as one before never gets that one's status or blocks by mistake", () =>
  withLeader(dual, async (world, leader) => {
    await world.addNode("a");
    await world.runAgent("a");
    await settle(world, leader);
    const before = await podCIDRs(world, "a");
    await world.removeNode("a");
    const { metadata } = await world.addNode("a");
    await leader.catchUp();
    await leader.pass(); // its agent has not yet come: the NodeNetwork is still the one before
    const network = await world.kube.get(nodeNetworks, { name: "a" }).catch(() => undefined);
    assert.notEqual(network?.status?.nodeUid, metadata.uid);
    await world.runAgent("a");
    await settle(world, leader);
    await checkSettled(world);
    assert.notDeepEqual(await podCIDRs(world, "a"), before);
  }));

test("the condition of another program, and all the others, are left as they are", () =>
  withLeader(dual, async (world, leader) => {
    await world.addNode("a");
    const conditions = [
      { type: "Ready", status: "True", reason: "KubeletReady" },
      { type: "NetworkUnavailable", status: "True", reason: "NoRouteCreated" },
    ];
    await world.kube.patch(
      nodes,
      { name: "a" },
      { type: "merge", body: { status: { conditions } } },
      { subresource: "status" },
    );
    await world.addNode("stranger");
    await world.kube.patch(
      nodes,
      { name: "stranger" },
      { type: "merge", body: { status: { conditions } } },
      { subresource: "status" },
    );
    await world.runAgent("a");
    await settle(world, leader);
    const { status } = await world.kube.get(nodes, { name: "a" });
    assert.deepEqual(
      status.conditions?.map(({ type, reason }) => [type, reason]),
      [
        ["Ready", "KubeletReady"],
        ["NetworkUnavailable", "FairleadReady"],
      ],
    );
    assert.deepEqual(await networkUnavailable(world, "stranger"), ["True", "NoRouteCreated"]);
  }));

test("a condition that is refused is told, and no failure; nothing is told where another Node has come under its name", () =>
  withLeader(dual, async (world, leader) => {
    await world.addNode("a");
    await world.runAgent("a");
    await settle(world, leader);
    const body = { status: { conditions: [{ type: "NetworkUnavailable", status: "True", reason: "Other" }] } };
    await world.kube.patch(nodes, { name: "a" }, { type: "merge", body }, { subresource: "status" });
    await leader.catchUp();
    // As the real server answers a patch with the uid of another Node.
    const effect = {
      does: "answer",
      status: 422,
      reason: "Invalid",
      message: "metadata.uid: field is immutable",
    } as const;
    world.server.faults.add({ verb: "patch", resource: "nodes", subresource: "status", times: 2, effect });
    await leader.pass();
    await leader.pass();
    assert.deepEqual(await reasons(world), ["a WriteRefused"]);
    leader.freeze(true, "nodes");
    await world.removeNode("a");
    world.server.faults.clear();
    await world.addNode("a");
    world.server.faults.add({ verb: "patch", resource: "nodes", subresource: "status", effect });
    await leader.pass();
  }));
