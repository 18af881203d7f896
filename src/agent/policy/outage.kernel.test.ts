// What judges pods when something is away or broken: the API server, the agent, the table in the kernel.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addPod, denyAll, ingressFrom, neither, pings, reached, servingAgent } from "../../../test/policy-node.ts";
import { until } from "../../../test/until.ts";
import { networkPolicies } from "../../kube/policy-objects.ts";

const repairedWithinMs = 1_000;
/** By then at the latest, on a busy computer too: the pass that comes anyway comes every half minute. */
const repairedAtLatestMs = 10_000;

void test("without agent and without API server the kernel judges on; an agent that starts then judges by what was kept, new pods too", async (t) => {
  const agent = await servingAgent(t);
  const { kube } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  const other = await addPod(t, agent, "other", { app: "other" });
  await kube.create(networkPolicies, denyAll({ app: "db" }));
  await kube.create(networkPolicies, ingressFrom({ app: "web" }));
  const judged = (): boolean => pings(web, db, 0) && !pings(other, db, 0);
  await until("policy is there", judged);
  await agent.stop();
  assert.ok(judged(), "the agent is away");
  await agent.api.close();
  const { serving } = agent.start();
  await serving;
  assert.ok(judged(), "the API server is away");
  const late = await addPod(t, agent, "late", { app: "db" }, { known: false });
  // Nobody says what its labels are: what is sure is that the policies that were there are there.
  assert.deepEqual([pings(web, db, 1), pings(other, db, 1)], [true, false]);
  assert.ok(pings(late, web, 0));
});

void test("rules that somebody flushes, and a table that somebody deletes, are back within a second", async (t) => {
  const agent = await servingAgent(t);
  const { kube, node } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await kube.create(networkPolicies, denyAll({ app: "db" }));
  await until("the pod is closed", () => !pings(web, db, 0));
  const took: number[] = [];
  for (const damage of [
    ["flush", "table", "inet", "fairlead-policy"],
    ["delete", "table", "inet", "fairlead-policy"],
    ["flush", "ruleset"],
  ]) {
    const startedMs = performance.now();
    node.run("nft", ...damage);
    const table = (): string => {
      try {
        return node.run("nft", "list", "table", "inet", "fairlead-policy");
      } catch {
        return "";
      }
    };
    await until(
      `repaired after nft ${damage.join(" ")}`,
      () => /iifgroup vmap @egress_classes/.test(table()),
      repairedAtLatestMs,
    );
    took.push(Math.round(performance.now() - startedMs));
    assert.deepEqual(reached(web, db), neither);
  }
  t.diagnostic(`back after ${took.join(", ")} ms`);
  const [, middle = Infinity] = took.toSorted((a, b) => a - b);
  assert.ok(middle < repairedWithinMs, `back after ${took.join(", ")} ms`);
});

void test("a class that somebody takes off a link is put back", async (t) => {
  const agent = await servingAgent(t);
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await agent.kube.create(networkPolicies, denyAll({ app: "db" }));
  await until("the pod is closed", () => !pings(web, db, 0));
  const closedLinks = (): string[] => {
    const links = agent.node.run("ip", "-o", "link", "show");
    return [...links.matchAll(/(fl[0-9a-f]{13})@[^\n]* group (10[1-9])/g)].map(([, name = ""]) => name);
  };
  const closed = closedLinks();
  assert.equal(closed.length, 1);
  agent.node.run("ip", "link", "set", closed[0] ?? "", "group", "100");
  await until("its class is back", () => closedLinks().join() === closed.join());
  assert.deepEqual(reached(web, db), neither);
});

void test("what others do to their own tables has nothing of ours read; among it our own damage is seen at once", async (t) => {
  const agent = await servingAgent(t);
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await agent.kube.create(networkPolicies, denyAll({ app: "db" }));
  await until("the pod is closed", () => !pings(web, db, 0));
  const passes = async (): Promise<Map<string, number>> => {
    const { loops } = (await agent.ask("/status")) as { loops: { name: string; passes: number }[] };
    return new Map(loops.map((loop) => [loop.name, loop.passes]));
  };
  const rounds = 12;
  const before = await passes();
  agent.node.run("nft", "add table inet other; add set inet other them { type ipv4_addr; }");
  const looked = async (name: string): Promise<number> => ((await passes()).get(name) ?? 0) - (before.get(name) ?? 0);
  for (let round = 0; round < rounds; round += 1) {
    const heard = await looked("obstacles");
    agent.node.run("nft", `add element inet other them { 10.9.0.${round} }`);
    await until("it was heard", async () => (await looked("obstacles")) > heard);
  }
  const most = Math.max(await looked("policy"), await looked("guard"), await looked("masquerade"));
  assert.ok(most < rounds / 2, `${most} passes: some are for the pods that have come, one comes every half minute`);
  agent.node.run("nft", "add element inet other them { 10.9.1.1 }; flush table inet fairlead-policy");
  await until(
    "repaired",
    () => /vmap @egress_classes/.test(agent.node.run("nft", "list table inet fairlead-policy")),
    repairedAtLatestMs,
  );
  assert.deepEqual(reached(web, db), neither);
});
