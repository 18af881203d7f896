// Which NodeNetworks become routes, and what is said of those that do not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../base/assert.ts";
import { type NodeNetwork, nodeNetworks } from "../../kube/objects.ts";
import { type Cidr, parseCidr } from "../../net/cidr.ts";
import { peerRoutes } from "./peers.ts";

const cidr = (text: string): Cidr => present(parseCidr(text), text);

const network = (name: string, blocks: string[], addresses: string[]): NodeNetwork =>
  nodeNetworks.parse({
    metadata: { name },
    spec: { nodeUid: `uid-${name}`, agentVersion: "1" },
    status: { nodeUid: `uid-${name}`, blocks: blocks.map((block) => ({ cidr: block })), addresses },
  });

const standing = {
  nodeName: "a",
  blocks: [cidr("10.4.1.0/24"), cidr("fd00:4:1::/64")],
  near: [cidr("172.30.0.0/24"), cidr("fd00:30::/64")],
};

const seen = (...networks: NodeNetwork[]): { routes: string[]; codes: string[]; messages: string[] } => {
  const { routes, faults } = peerRoutes(networks, standing);
  return {
    routes: routes.map(({ to, via }) => `${to} via ${via}`),
    codes: faults.map(({ code }) => code),
    messages: faults.map(({ message }) => message),
  };
};

void test("every block of every other node gets a route through the node's address of its family", () => {
  const { routes, codes } = seen(
    network("a", ["10.4.1.0/24"], ["172.30.0.11"]),
    network("b", ["10.4.2.0/24", "fd00:4:2::/64"], ["172.30.0.12", "fd00:30::12"]),
    network("c", ["fd00:4:3::/64", "10.4.3.0/24"], ["fd00:30::13", "172.30.0.13"]),
  );
  assert.deepEqual(codes, []);
  assert.deepEqual(routes, [
    "10.4.2.0/24 via 172.30.0.12",
    "10.4.3.0/24 via 172.30.0.13",
    "fd00:4:2::/64 via fd00:30::12",
    "fd00:4:3::/64 via fd00:30::13",
  ]);
});

void test("a node without a status, or without blocks, is no way and no fault", () => {
  const bare = nodeNetworks.parse({ metadata: { name: "b" }, spec: { nodeUid: "u", agentVersion: "1" } });
  assert.deepEqual(seen(bare, network("c", [], [])), { routes: [], codes: [], messages: [] });
});

void test("a node on another segment is told by its name and address", () => {
  const { routes, codes, messages } = seen(network("b", ["10.4.2.0/24"], ["172.31.0.12"]));
  assert.deepEqual([routes, codes], [[], ["other-segment"]]);
  assert.match(messages.join(), /node b \(172\.31\.0\.12\).*10\.4\.2\.0\/24/);
});

void test("a node that lacks an address of a family is told, and reached by the other", () => {
  const { routes, codes } = seen(network("b", ["10.4.2.0/24", "fd00:4:2::/64"], ["172.30.0.12"]));
  assert.deepEqual([routes, codes], [["10.4.2.0/24 via 172.30.0.12"], ["no-address"]]);
});

void test("no block may take this node's, nor the segment's, nor another node's addresses", () => {
  for (const block of ["10.4.1.0/24", "10.4.0.0/16", "10.4.1.128/25", "172.30.0.0/25", "172.0.0.0/8"]) {
    const { routes, codes } = seen(network("b", [block], ["172.30.0.12"]));
    assert.deepEqual([block, routes, codes], [block, [], ["block-overlap"]]);
  }
  const { routes, codes, messages } = seen(
    network("c", ["10.5.2.0/24", "10.5.9.0/24"], ["172.30.0.13"]),
    network("b", ["10.5.0.0/21", "10.5.8.0/24"], ["172.30.0.12"]),
    network("d", ["10.5.7.0/24"], ["172.30.0.14"]),
  );
  assert.deepEqual(codes, ["block-overlap", "block-overlap"]);
  assert.match(messages.join(), /10\.5\.2\.0\/24 of node c overlaps 10\.5\.0\.0\/21 of node b/);
  assert.deepEqual(routes, [
    "10.5.0.0/21 via 172.30.0.12",
    "10.5.8.0/24 via 172.30.0.12",
    "10.5.9.0/24 via 172.30.0.13",
  ]);
});

void test("two nodes with one block: the same one is chosen in whatever order they come", () => {
  const [b, c] = [network("b", ["10.4.2.0/24"], ["172.30.0.12"]), network("c", ["10.4.2.0/24"], ["172.30.0.13"])];
  assert.deepEqual(seen(b, c), seen(c, b));
  assert.deepEqual(seen(c, b).routes, ["10.4.2.0/24 via 172.30.0.12"]);
});

void test("a thousand nodes are quick", () => {
  const many = Array.from({ length: 1000 }, (_, index) =>
    network(
      `n${index}`,
      [`10.${100 + (index >> 8)}.${index & 255}.0/24`, `fd00:5:${index.toString(16)}::/64`],
      ["172.30.0.200", "fd00:30::200"],
    ),
  );
  const startedMs = performance.now();
  assert.equal(peerRoutes(many, standing).routes.length, 2000);
  assert.ok(performance.now() - startedMs < 1000);
});
