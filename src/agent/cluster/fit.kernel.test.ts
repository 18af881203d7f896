// A node in a cluster that lacks what its blocks need: the cluster hears of it, nothing is served, and nobody has to start the agent again.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { type ClusterAgent, makeClusterAgent, ownNode, type Run } from "../../../test/cluster-agent.ts";
import { uplink } from "../../../test/agent.ts";
import { makeNetns } from "../../../test/netns.ts";
import { until } from "../../../test/until.ts";
import { isFault } from "../../base/fault.ts";
import { nodes } from "../../kube/core-objects.ts";

const blocks = ["10.4.1.0/24", "fd00:10:4:1::/64"];

const address = (agent: ClusterAgent, what: "add" | "del"): void => {
  const nodad = what === "add" ? ["nodad"] : [];
  agent.node.run("ip", "address", what, `${uplink.addresses[6]}/64`, "dev", uplink.name, ...nodad);
};

const faultsOf = async (agent: ClusterAgent): Promise<string[]> =>
  ((await agent.network())?.spec.faults ?? []).map(({ code, message }) => `${code}: ${message}`);

const untilTold = (agent: ClusterAgent): Promise<void> =>
  until("the cluster is told", async () =>
    /^machine-unfit: uplink \S+ has no global IPv6 address; .*Add one/.test((await faultsOf(agent)).join()),
  );

/** An agent with blocks of both families on a node without an IPv6 address, once it has told so. */
async function waitingAgent(t: TestContext): Promise<{ agent: ClusterAgent; run: Run }> {
  const agent = await makeClusterAgent(t);
  address(agent, "del");
  await agent.makeNode();
  const run = agent.start();
  await agent.giveBlocks(blocks, { addresses: [uplink.addresses[4]] });
  await untilTold(agent);
  return { agent, run };
}

void test("without an IPv6 address of its own it tells cluster and node, takes no pod, and serves once it has one", async (t) => {
  const { agent, run } = await waitingAgent(t);
  assert.equal(agent.hasConflist(), false);
  assert.match(((await agent.ask("/status")) as { waitsFor: string }).waitsFor, /no global IPv6 address/);

  address(agent, "add");
  await until("it serves, by the kernel's word: it looks by itself later", () => agent.hasConflist());
  await run.serving;
  await until("no fault is left", async () => (await faultsOf(agent)).length === 0);
  const added = await agent.cni("ADD", { netns: makeNetns(t).path });
  assert.match(added.stdout, /fd00:10:4:1::2/);
});

void test("while it waits for an address it follows the cluster, which may give it blocks that need none", async (t) => {
  const { agent, run } = await waitingAgent(t);
  await agent.giveBlocks(blocks.slice(0, 1), { addresses: [uplink.addresses[4]] });
  await until("it serves, by the cluster's word: it looks by itself later", () => agent.hasConflist());
  await run.serving;
  await until("no fault is left", async () => (await faultsOf(agent)).length === 0);
});

void test("while it waits for an address it ends where its Node is made anew", async (t) => {
  const { agent, run } = await waitingAgent(t);
  await agent.kube.remove(nodes, { name: ownNode });
  await agent.makeNode();
  let why: unknown;
  run.serving.catch((error: unknown) => (why = error));
  await until("it has ended", () => isFault(why, "node-replaced"));
});

void test("an address that goes while it serves is told to the cluster until it is back; pods that are there stay", async (t) => {
  const agent = await makeClusterAgent(t);
  await agent.makeNode();
  const { serving } = agent.start();
  await agent.giveBlocks(blocks);
  await serving;
  address(agent, "del");
  await untilTold(agent);
  assert.equal(agent.hasConflist(), true);
  address(agent, "add");
  await until("no fault is left", async () => (await faultsOf(agent)).length === 0);
});

void test("an agent that starts again on a node that has lost its address: STATUS says 50, pods that are there stay, a DEL is kept", async (t) => {
  const agent = await makeClusterAgent(t);
  await agent.makeNode();
  const { serving } = agent.start();
  await agent.giveBlocks(blocks);
  await serving;
  const netns = makeNetns(t).path;
  assert.equal((await agent.cni("ADD", { netns })).exitCode, 0);
  await agent.stop();
  address(agent, "del");
  const again = agent.start();
  await untilTold(agent);
  const status = await agent.cni("STATUS", {});
  assert.equal((JSON.parse(status.stdout) as { code: number }).code, 50, status.stdout);
  const host = (): string => agent.node.run("ip", "-br", "link", "show", "type", "veth");
  assert.match(host(), /^fl/m, "the pod's link");
  assert.equal((await agent.cni("DEL", { netns })).exitCode, 0);
  address(agent, "add");
  await again.serving;
  await until("the pod's link is gone", () => !/^fl/m.test(host()));
});
