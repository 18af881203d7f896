// What an agent writes of itself, and which blocks it takes for its own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { nodes } from "../../kube/core-objects.ts";
import { type NodeNetwork, nodeNetworks } from "../../kube/objects.ts";
import { faultsOf, givenBlocks, wantedNetwork } from "./node-network.ts";

const node = nodes.parse({ metadata: { name: "a", uid: "u1" }, spec: { providerID: "none://a" } });
const report = { node, agentVersion: "1", faults: [] };

const written = (held?: NodeNetwork, more = {}): NodeNetwork | undefined =>
  wantedNetwork(held, { ...report, ...more }, "2026-01-01T00:00:00Z");

void test("a new object names its Node, belongs to it, and is right once it is written", () => {
  const fresh = written();
  assert.deepEqual(fresh, {
    metadata: { name: "a", ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "a", uid: "u1" }] },
    spec: { nodeUid: "u1", providerID: "none://a", agentVersion: "1" },
  });
  assert.equal(written(fresh), undefined);
});

void test("a namesake's object is taken over: uid and owner change, the version stays for the server to judge", () => {
  const old = nodeNetworks.parse({
    metadata: {
      name: "a",
      uid: "x",
      resourceVersion: "7",
      ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "a", uid: "u0" }],
    },
    spec: { nodeUid: "u0", agentVersion: "1" },
    status: { nodeUid: "u0", blocks: [{ cidr: "10.4.1.0/24" }], addresses: [] },
  });
  const taken = written(old);
  assert.equal(taken?.spec.nodeUid, "u1");
  assert.equal(taken?.metadata.resourceVersion, "7");
  assert.equal(taken?.metadata.ownerReferences?.[0]?.uid, "u1");
});

void test("a fault keeps the time at which it was first told, and goes when it is mended", () => {
  const faults = [{ code: "other-segment", message: "node b is elsewhere" }];
  const first = wantedNetwork(undefined, { ...report, faults }, "2026-01-01T00:00:00Z");
  const later = wantedNetwork(
    first,
    { ...report, faults: [...faults, { code: "no-address", message: "c" }] },
    "2026-01-02T00:00:00Z",
  );
  assert.deepEqual(
    later?.spec.faults?.map(({ since }) => since),
    ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"],
  );
  assert.equal(wantedNetwork(later, report, "2026-01-03T00:00:00Z")?.spec.faults, undefined);
});

void test("faults of a namesake are not this node's", () => {
  const faults = [{ code: "no-address", message: "c", since: "2026-01-01T00:00:00Z" }];
  const held = (nodeUid: string): NodeNetwork =>
    nodeNetworks.parse({ metadata: { name: "a" }, spec: { nodeUid, agentVersion: "1", faults } });
  assert.deepEqual(
    [faultsOf(held("u1"), node), faultsOf(held("u0"), node), faultsOf(undefined, node)],
    [faults, [], []],
  );
});

void test("more faults, or longer words, than the object may hold are cut", () => {
  const faults = Array.from({ length: 40 }, (_, index) => ({ code: "x", message: `${index} ${"y".repeat(3000)}` }));
  const cut = written(undefined, { faults });
  assert.equal(cut?.spec.faults?.length, 16);
  assert.equal(cut?.spec.faults?.[0]?.message.length, 1024);
  assert.equal(written(cut, { faults }), undefined);
});

const given = (nodeUid: string, ...blocks: string[]): NodeNetwork =>
  nodeNetworks.parse({
    metadata: { name: "a" },
    spec: { nodeUid: "u1", agentVersion: "1" },
    status: { nodeUid, blocks: blocks.map((cidr) => ({ cidr })), addresses: [] },
  });

void test("blocks count only for the Node that they were given to", () => {
  assert.deepEqual(givenBlocks(given("u1", "10.4.1.0/24", "fd00:4:1::/64"), "u1"), ["10.4.1.0/24", "fd00:4:1::/64"]);
  assert.deepEqual(givenBlocks(given("u0", "10.4.1.0/24"), "u1"), []);
  assert.deepEqual(givenBlocks(given("u1", "10.4.1.0/24"), undefined), []);
  assert.deepEqual(givenBlocks(undefined, "u1"), []);
});

void test("a block that is too wide, or overlaps an earlier one, is left out", () => {
  assert.deepEqual(givenBlocks(given("u1", "10.0.0.0/8", "10.4.1.0/24", "10.4.1.128/25", "fd00::/32"), "u1"), [
    "10.4.1.0/24",
  ]);
});
