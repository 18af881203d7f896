// A full node in a real cluster: as many pods at once as Kubernetes puts on one by default, and all of them away again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { all } from "../../lab/waiting.ts";
import { deployment } from "./objects.ts";
import { makeScene } from "./scene.ts";
import { crowdCount, type Part } from "./suite.ts";

const readyWithinMs = 240_000;
const pingersMax = 4;

export const crowdTests: Part = (cluster) => {
  void test(`${crowdCount} pods start on one node at once, each with addresses of its own that answer`, async (t) => {
    const scene = await makeScene(cluster(), t, "crowd");
    const node = cluster().node("node-1");
    const startedMs = performance.now();
    await scene.apply(deployment("crowd", crowdCount, { node: node.name, args: ["pause"] }));
    const pods = await scene.untilReady(crowdCount, "crowd", readyWithinMs);
    t.diagnostic(`${crowdCount} pods Ready after ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
    const addresses = pods.flatMap((pod) =>
      cluster().options.families.map((family) => present(pod.addresses[family], "address")),
    );
    assert.equal(new Set(addresses).size, crowdCount * cluster().options.families.length);
    assert.deepEqual([...new Set(pods.map((pod) => pod.node))], [node.name]);
    const queue = [...addresses];
    const pinger = async (): Promise<void> => {
      for (let to = queue.shift(); to !== undefined; to = queue.shift())
        await node.run("ping", ["-q", "-c", "1", "-W", "5", to]);
    };
    await all(Array.from({ length: pingersMax }, pinger));
    const endedMs = performance.now();
    await scene.kubectl(["delete", "deployment", "crowd", "--wait=true"]);
    await scene.untilGone("crowd");
    t.diagnostic(`all gone after ${((performance.now() - endedMs) / 1000).toFixed(1)} s`);
  });
};
