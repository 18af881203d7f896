// A watch that is silent is not believed: what the API server has been told before ADD judges the pod when ADD returns.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addPod, denyAll, neither, pings, reached, servingAgent } from "../../../test/policy-node.ts";
import { until } from "../../../test/until.ts";
import { pause } from "../../base/pause.ts";
import { networkPolicies } from "../../kube/policy-objects.ts";

void test("a policy that no watch told of closes the pod before its ADD returns, and those that run with it", async (t) => {
  const agent = await servingAgent(t);
  await agent.stop();
  agent.believes.silentMaxMs = 300;
  await agent.start().serving;
  const web = await addPod(t, agent, "web", { app: "web" });
  const running = await addPod(t, agent, "running", { app: "db" });
  assert.ok(pings(web, running, 0));
  agent.api.stallWatches();
  await agent.kube.create(networkPolicies, denyAll({ app: "db" }));
  await pause(400, new AbortController().signal); // the silence itself is what is tried
  const db = await addPod(t, agent, "db", { app: "db" });
  assert.deepEqual(reached(web, db), neither);
  await until("the pod that runs is closed too", () => !pings(web, running, 0));
  agent.api.resumeWatches();
});

void test("where the API server has gone silent wholly, what is known judges new pods, as in every outage", async (t) => {
  const agent = await servingAgent(t);
  await agent.kube.create(networkPolicies, denyAll({ app: "db" }));
  await agent.stop();
  agent.believes.silentMaxMs = 1;
  await agent.start().serving;
  const web = await addPod(t, agent, "web", { app: "web" });
  await agent.api.startOutage();
  const db = await addPod(t, agent, "db", { app: "db" }, { known: false });
  assert.deepEqual(reached(web, db), neither);
});
