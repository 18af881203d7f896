// Fairlead's own pods in a real cluster: they are killed and replaced while pods talk, and the node takes pods all the same.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../lab/waiting.ts";
import { pod } from "./objects.ts";
import { agents, controllers, killOwn, ownPods, system, untilRolledOut } from "./own.ts";
import { makeScene } from "./scene.ts";
import type { Part } from "./suite.ts";
import { startTraffic } from "./traffic.ts";

/** A runtime asks for STATUS every 5 s; the answer counts for the node at once. */
const asksMin = 4;
const askedWithinMs = 60_000;
const toldWithinMs = 60_000;

export const agentTests: Part = (cluster) => {
  void test("agents and controllers are deleted all at once, then killed one after the other: pods lose no packet, and new ones start", async (t) => {
    const scene = await makeScene(cluster(), t, "agents");
    const { nodes, kubectl } = cluster();
    const traffic = await startTraffic(scene);
    const kill = ["delete", "pods", "--all", "--force", "--grace-period=0"];
    await kubectl(["--namespace", system, ...kill]);
    // At once: their ADD has to wait for the new agents, and must not fail for good.
    await scene.apply(...nodes.map(({ name }) => pod(`during-${name}`, { node: name, labels: { app: "during" } })));
    for (const workload of [agents, controllers]) await untilRolledOut(cluster(), workload);
    await scene.untilReady(nodes.length, "during");
    for (const [program, workload] of [
      ["agent", agents],
      ["controller", controllers],
    ] as const) {
      const before = await ownPods(cluster(), program);
      for (const { node, uid, restarts } of before) {
        await killOwn(cluster().node(node), program);
        // At once again.
        const name = `${program}-killed-on-${node}`;
        await scene.apply(pod(name, { node }));
        await scene.untilReady(1, name);
        await untilRolledOut(cluster(), workload);
        // A kubelet tells of it a little later.
        const anew = async (): Promise<string | undefined> => {
          const after = (await ownPods(cluster(), program)).find((one) => one.uid === uid);
          return after?.restarts === restarts + 1 ? undefined : `${after?.restarts} restarts, ${restarts} before`;
        };
        await until(anew, {
          what: `${program} of ${node} started anew in its pod`,
          withinMs: toldWithinMs,
          everyMs: 250,
        });
      }
    }
    t.diagnostic(`${await traffic.settle()} echo requests, none lost`);
  });

  void test("the runtime asks for STATUS, is told that all is well, and the nodes stay Ready", async () => {
    const since = new Date().toISOString();
    const asked = async (): Promise<string | undefined> => {
      for (const { name } of cluster().nodes) {
        const selector = ["--selector=app.kubernetes.io/component=agent", `--field-selector=spec.nodeName=${name}`];
        const agent = await cluster().kubectl(["--namespace", system, "get", "pods", ...selector, "--output=name"]);
        const log = await cluster().kubectl(["--namespace", system, "logs", agent.trim(), `--since-time=${since}`]);
        const lines = log.split("\n").filter((line) => line.includes('"verb":"STATUS"'));
        const refused = lines.filter((line) => !line.includes('"msg":"done"'));
        assert.deepEqual(refused, [], `STATUS on ${name}`);
        if (lines.length < asksMin) return `${name} was asked ${lines.length} times`;
      }
      return undefined;
    };
    await until(asked, { what: `${asksMin} questions for STATUS`, withinMs: askedWithinMs, everyMs: 1000 });
    await cluster().untilNodesReady();
  });
};
