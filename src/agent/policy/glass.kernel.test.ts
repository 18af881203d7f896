// Break-glass on a node with real packets: it opens, says so, and ends by itself, also while nobody answers and in another agent's life.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterAgent } from "../../../test/cluster-agent.ts";
import { addPod, both, denyAll, neither, reached, servingAgent, type TestPod } from "../../../test/policy-node.ts";
import type { TestContext } from "node:test";
import { until } from "../../../test/until.ts";
import { nodes } from "../../kube/core-objects.ts";
import { namespaces, networkPolicies } from "../../kube/policy-objects.ts";
import { breakGlassAnnotation, breakGlassMaxMs } from "../../policy/break-glass.ts";
import { ownNode } from "../../../test/cluster-agent.ts";

/** One that has begun and ends in so many milliseconds. */
const forMs = (ms: number): string =>
  `${new Date(Date.now() - 1000).toISOString()}/${new Date(Date.now() + ms).toISOString()}`;
const annotated = (text: string | null): { type: "merge"; body: object } => ({
  type: "merge",
  body: { metadata: { annotations: { [breakGlassAnnotation]: text } } },
});

async function closedPods(t: TestContext): Promise<{ agent: ClusterAgent; web: TestPod; db: TestPod }> {
  const agent = await servingAgent(t);
  const web = await addPod(t, agent, "web", { app: "web" });
  const db = await addPod(t, agent, "db", { app: "db" });
  await agent.kube.create(networkPolicies, denyAll({ app: "db" }));
  await until("it is closed", () => reached(web, db).every((passes) => !passes));
  return { agent, web, db };
}

const faultsOf = async (agent: ClusterAgent): Promise<string[]> =>
  ((await agent.network())?.spec.faults ?? []).map(({ code, message }) => `${code}: ${message}`);

void test("of a namespace: its pods are open while it lasts, everybody is told, and it ends by itself", async (t) => {
  const { agent, web, db } = await closedPods(t);
  await agent.kube.patch(namespaces, { name: "default" }, annotated(forMs(15_000)));
  await until("it is open", () => reached(web, db).every(Boolean));
  await until("the cluster is told", async () =>
    /break-glass: policy denies pods nothing by break-glass of Namespace default until /.test(
      (await faultsOf(agent)).join(),
    ),
  );
  assert.match(JSON.stringify(await agent.ask("/check")), /"name":"break-glass","state":"bad"/);
  const late = await addPod(t, agent, "late", { app: "db" });
  assert.deepEqual(reached(web, late), both, "a new pod is open, too");
  await until("it ends by itself", () => reached(web, db).every((passes) => !passes));
  // One link after the other, and the agent stands still while this process asks.
  await until("it ends for the new pod, too", () => reached(web, late).every((passes) => !passes));
  await until("it is told that it is over", async () => (await faultsOf(agent)).length === 0);
});

void test("of the node: it ends without the API server, and does not begin again in the next agent", async (t) => {
  const { agent, web, db } = await closedPods(t);
  await agent.kube.patch(nodes, { name: ownNode }, annotated(forMs(15_000)));
  await until("it is open", () => reached(web, db).every(Boolean));
  await agent.stop();
  await agent.api.close();
  await agent.start().serving;
  await until("the next agent judges by what was kept", async () =>
    /break-glass of Node node-1/.test(JSON.stringify(await agent.ask("/check"))),
  );
  assert.deepEqual(reached(web, db), both);
  await until("it ends by itself", () => reached(web, db).every((passes) => !passes));
});

void test("one that is too long opens nothing, and is told", async (t) => {
  const { agent, web, db } = await closedPods(t);
  await agent.kube.patch(nodes, { name: ownNode }, annotated(forMs(breakGlassMaxMs)));
  await until("it is told", async () => /break-glass-refused: Node node-1/.test((await faultsOf(agent)).join()));
  assert.deepEqual(reached(web, db), neither);
});
