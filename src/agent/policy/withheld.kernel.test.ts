// An address that memberships still list is not given to another pod, however long it has cooled: the controller may be away.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { CniCall } from "../../../test/agent.ts";
import { type ClusterAgent, makeClusterAgent } from "../../../test/cluster-agent.ts";
import { makeNetns } from "../../../test/netns.ts";
import { addPod, lose, stateFile, type TestPod } from "../../../test/policy-node.ts";
import { until } from "../../../test/until.ts";
import { coolDefaultMs } from "../../ipam/pool.ts";
import { membershipSlices } from "../../kube/policy-objects.ts";
import { groupMembership } from "../../policy/membership.ts";

const [block, first] = ["10.4.1.8/30", "10.4.1.9"];
const slice = "m-1";

interface Exhausted {
  agent: ClusterAgent;
  /** Has the one address that has cooled. */
  gone: TestPod;
}

/** A node with two addresses: one is of a pod that lives, the other cooled long ago and is listed by a slice that nobody writes any more. */
async function exhausted(t: TestContext): Promise<Exhausted> {
  const agent = await makeClusterAgent(t);
  await agent.makeNode();
  const { serving } = agent.start();
  await agent.giveBlocks([block]);
  await serving;
  const gone = await addPod(t, agent, "gone", { app: "db" });
  await addPod(t, agent, "lives", {});
  assert.deepEqual(gone.addresses, [first]);
  const { key, peer } = groupMembership("m");
  const listed = { metadata: { name: slice }, membership: key, peer, endpoints: [{ addresses: gone.addresses }] };
  await agent.kube.create(membershipSlices, membershipSlices.parse(listed));
  // One that starts hears of it before it gives an address; what it has heard is kept once it judges by it.
  await agent.stop();
  await agent.start().serving;
  await until("it judges by the cluster's word", async () => {
    const { policy } = (await agent.ask("/status")) as { policy?: { by: string } };
    return policy?.by === "cluster";
  });
  await agent.cni("DEL", { containerId: gone.name, netns: gone.netns.path });
  agent.clock.aheadMs += 2 * coolDefaultMs;
  return { agent, gone };
}

/** ADD of a pod that the API server does not know: what it says, and how it ended. */
async function tryToAdd(t: TestContext, agent: ClusterAgent, name: string): Promise<CniCall> {
  const env = { CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_UID=uid-of-${name}` };
  return agent.cni("ADD", { containerId: name, netns: makeNetns(t).path, env });
}

const isWithheld = ({ exitCode, stdout }: CniCall): boolean =>
  exitCode !== 0 && /1 in use, 0 cooling .*each of 1 is withheld: MembershipSlices still list it/.test(stdout);

void test("an address that a slice lists is withheld, over a restart too, until the slice lets it go", async (t) => {
  const { agent } = await exhausted(t);
  const refused = await tryToAdd(t, agent, "next");
  assert.ok(isWithheld(refused), refused.stdout);
  assert.match(JSON.stringify(await agent.ask("/check")), /1 withheld, 0 free/);
  await agent.stop();
  await agent.start().serving;
  agent.clock.aheadMs += 2 * coolDefaultMs; // after a start what cools does so anew
  const again = await tryToAdd(t, agent, "next");
  assert.ok(isWithheld(again), again.stdout);
  await agent.kube.remove(membershipSlices, { name: slice });
  let given = "";
  await until("the address is given", async () => {
    const { exitCode, stdout } = await tryToAdd(t, agent, "next");
    given = stdout;
    return exitCode === 0;
  });
  assert.match(given, /10\.4\.1\.9/);
});

void test("an agent that starts without the API server withholds what was listed before", async (t) => {
  const { agent } = await exhausted(t);
  await agent.stop();
  await agent.api.close();
  await agent.start().serving;
  agent.clock.aheadMs += 2 * coolDefaultMs;
  const refused = await tryToAdd(t, agent, "next");
  assert.ok(isWithheld(refused), refused.stdout);
});

void test("an address that a slice lists is told as withheld by an agent whose journal says nothing of it", async (t) => {
  const { agent } = await exhausted(t);
  await agent.stop();
  lose(agent, ...stateFile);
  await agent.start().serving;
  await until("it is told", async () =>
    /IPv4: 1 in use, 0 cooling, 1 withheld, 0 free/.test(JSON.stringify(await agent.ask("/check"))),
  );
  const refused = await tryToAdd(t, agent, "next");
  assert.ok(isWithheld(refused), refused.stdout);
});
