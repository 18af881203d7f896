// A state file that is lost tells nothing of pods any more: whose the links are is found anew, and until then nothing opens.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  addPod,
  denyAll,
  ingressFrom,
  lose,
  pings,
  reached,
  neither,
  servingAgent,
  stateFile,
} from "../../../test/policy-node.ts";
import { until } from "../../../test/until.ts";
import { nodeEndpoints } from "../../kube/objects.ts";
import { networkPolicies } from "../../kube/policy-objects.ts";
import { keptPolicyName } from "./kept.ts";

for (const [what, files] of [
  ["the state file", stateFile],
  ["the state file and the kept policy", [...stateFile, keptPolicyName]],
] as const) {
  void test(`pods are judged, followed and published again after ${what} was lost`, async (t) => {
    const agent = await servingAgent(t);
    const db = await addPod(t, agent, "db", { app: "db" });
    const web = await addPod(t, agent, "web", { app: "web" });
    await agent.kube.create(networkPolicies, denyAll({ app: "db" }));
    await until("the pod is closed", () => !pings(web, db, 0));
    const published = async (): Promise<string[]> =>
      (await agent.kube.list(nodeEndpoints)).items.flatMap(({ endpoints }) => endpoints.map(({ uid }) => uid)).sort();
    const uids = [db.uid, web.uid].sort();
    await until("both are published", async () => (await published()).join() === uids.join());
    await agent.stop();
    lose(agent, ...files);
    await agent.start().serving;
    assert.deepEqual(reached(web, db), neither);
    await agent.kube.create(networkPolicies, ingressFrom({ app: "web" }));
    await until("an edit holds for a pod that was read back", () => pings(web, db, 0));
    assert.deepEqual(await published(), uids);
    assert.doesNotMatch(JSON.stringify(await agent.ask("/check")), /read back from their links/);
  });
}

void test("while nobody says whose a link is, its class stays nobody else's, and nothing opens", async (t) => {
  const agent = await servingAgent(t);
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await agent.kube.create(networkPolicies, denyAll({ app: "db" }));
  await until("the pod is closed", () => !pings(web, db, 0));
  await agent.stop();
  lose(agent, ...stateFile, keptPolicyName);
  // Who it was is said nowhere any more.
  await agent.kube.remove(nodeEndpoints, { name: "node-1" });
  await agent.start().serving;
  // A class that opens what the other closes: it must not come by the number of the other.
  await agent.kube.create(networkPolicies, ingressFrom({ app: "web" }));
  const late = await addPod(t, agent, "late", { app: "db" });
  const front = await addPod(t, agent, "front", { app: "web" });
  await until("the new pod is judged", () => pings(front, late, 0) && !pings(web, late, 0));
  assert.deepEqual(reached(front, db), neither);
  assert.deepEqual(reached(web, db), neither);
  assert.match(JSON.stringify(await agent.ask("/check")), /2 pods were read back from their links/);
});
