// The Kubernetes network model in a real cluster: every pod has an address of its own and reaches all others as itself.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { type Cidr, cidrBase, cidrContains, cidrFamily, parseCidr } from "../../src/net/cidr.ts";
import { all } from "../../lab/waiting.ts";
import { type KubernetesCluster, readNodes } from "./cluster.ts";
import { deployment, serverPort } from "./objects.ts";
import { podRanges } from "./plan.ts";
import { addressOf, askFromPod, makeScene, type SeenPod, url } from "./scene.ts";
import type { Part } from "./suite.ts";

/** Pods that ask each other; each asks all others in each family. */
const podCount = 50;
/** kubectl processes at once. */
const askersMax = 4;

export const meshTests: Part = (cluster) => {
  void test("all nodes are Ready, each with blocks of its own in every family", async () => {
    const { options, plane, nodes } = cluster();
    const seen = await readNodes(plane);
    assert.deepEqual(
      seen.map(({ metadata }) => metadata.name).toSorted(),
      nodes.map(({ name }) => name),
    );
    const blocks = seen.flatMap(({ spec }) => spec.podCIDRs.map((text) => present(parseCidr(text), text)));
    assert.equal(new Set(blocks).size, nodes.length * options.families.length);
    for (const block of blocks) assert.ok(cidrContains(range(cidrFamily(block)), cidrBase(block)));
  });

  void test(`${podCount} pods on all nodes reach each other, and see each other's own address`, async (t) => {
    const scene = await makeScene(cluster(), t, "mesh");
    await scene.apply(deployment("web", podCount));
    const pods = await scene.untilReady(podCount);
    assert.equal(new Set(pods.map(({ node }) => node)).size, cluster().nodes.length, "pods on every node");
    checkAddresses(cluster(), pods);
    const queue = [...pods];
    const asker = async (): Promise<void> => {
      for (let pod = queue.shift(); pod !== undefined; pod = queue.shift()) await checkReach(pod, pods);
    };
    const { families } = cluster().options;
    async function checkReach(from: SeenPod, to: readonly SeenPod[]): Promise<void> {
      const urls = families.flatMap((family) =>
        to.map(({ addresses }) => url(present(addresses[family], "address"), serverPort, "/clientip")),
      );
      const seen = (await askFromPod(scene, from.name, urls)).map(addressOf);
      const expected = families.flatMap((family) => to.map(() => from.addresses[family]));
      assert.deepEqual(seen, expected, `what all pods see of ${from.name}`);
    }
    await all(Array.from({ length: askersMax }, asker));
  });
};

/** Every pod has one address of each family, its own, from its node's block. */
function checkAddresses({ options }: KubernetesCluster, pods: readonly SeenPod[]): void {
  for (const family of options.families) {
    const addresses = pods.map(({ addresses }) => present(addresses[family], `IPv${family} address`));
    assert.equal(new Set(addresses).size, pods.length, `IPv${family} addresses are distinct`);
    for (const address of addresses) assert.ok(cidrContains(range(family), address), address);
  }
}

function range(family: 4 | 6): Cidr {
  return present(parseCidr(podRanges[family]), "pod range");
}
