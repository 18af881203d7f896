// Every kernel call of ADD and DEL fails once, before and after its work: nothing is left, nothing is lost, and the next try works.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { reaped, startTestAgent, type TestAgent } from "../../test/agent.ts";
import { type FailurePlan, failingKernel } from "../../test/failing-kernel.ts";
import { makeNetns } from "../../test/netns.ts";
import { present } from "../base/assert.ts";
import { askAgent } from "../cli/agent-client.ts";
import { statusSocket } from "./status.ts";

/** More calls than ADD or DEL makes: the search for the last one ends there. */
const callsMax = 40;

async function startFailingAgent(t: TestContext): Promise<{ agent: TestAgent; steer: FailurePlan }> {
  let plan: FailurePlan | undefined;
  const agent = await startTestAgent(t, {
    wrap: (kernel) => {
      const failing = failingKernel(kernel);
      plan = failing.plan;
      return failing.kernel;
    },
  });
  return { agent, steer: present(plan, "failure plan") };
}

for (const when of ["before", "after"] as const) {
  test(`ADD: each kernel call fails ${when} its work`, async (t) => {
    const { agent, steer } = await startFailingAgent(t);
    const pod = makeNetns(t);
    let failed = 0;
    for (let at = 1; at <= callsMax; at += 1) {
      Object.assign(steer, { at, when, seen: 0 });
      const { exitCode, stdout } = await agent.cni("ADD", { netns: pod.path });
      const calls = steer.seen;
      steer.at = undefined;
      if (exitCode !== 0) {
        failed += 1;
        assert.match(stdout, /planned failure/, `call ${at}`);
        assert.doesNotMatch(pod.run("ip", "link"), /eth0/, `call ${at}: the pod has no interface`);
        const held = await agent.kernel().guard.list();
        assert.deepEqual(held, [], `call ${at}: the guard has no entry`);
        const links = (await agent.kernel().node.links()).filter(({ name }) => name.startsWith("fl"));
        assert.deepEqual(links, [], `call ${at}: the node has no link`);
        const pods = await askAgent(statusSocket(agent.config.paths.socket), "/pods");
        assert.deepEqual(pods, [], `call ${at}: no address is held`);
        assert.equal((await agent.cni("DEL", { netns: pod.path })).exitCode, 0, `call ${at}: DEL after a failed ADD`);
        // What is left to remove makes calls of its own, which must not meet the next round's failure.
        await reaped(agent);
        continue;
      }
      assert.equal((await agent.cni("DEL", { netns: pod.path })).exitCode, 0);
      if (calls < at) break;
    }
    assert.ok(failed >= 4, `ADD makes at least four kernel calls, ${failed} failed`);
    await agent.add({ netns: pod.path });
    pod.run("ping", "-c1", "-W5", "172.30.0.11");
  });

  test(`DEL: each kernel call fails ${when} its work, and the next DEL finishes`, async (t) => {
    const { agent, steer } = await startFailingAgent(t);
    let failed = 0;
    for (let at = 1; at <= callsMax; at += 1) {
      const pod = makeNetns(t);
      const call = { containerId: `c${at}`, netns: pod.path };
      await agent.add(call);
      await reaped(agent); // the reaper's own calls would be counted
      Object.assign(steer, { at, when, seen: 0 });
      const { exitCode, stdout } = await agent.cni("DEL", call);
      const calls = steer.seen;
      steer.at = undefined;
      if (exitCode !== 0) {
        failed += 1;
        assert.match(stdout, /DEL again.*planned failure/);
        assert.equal((await agent.cni("DEL", call)).exitCode, 0, `call ${at}`);
      }
      await reaped(agent);
      assert.deepEqual(await agent.kernel().guard.list(), []);
      assert.deepEqual(
        (await agent.kernel().node.links()).filter(({ name }) => name.startsWith("fl")),
        [],
      );
      if (exitCode === 0 && calls < at) break;
    }
    assert.ok(failed >= 3, `DEL makes at least three kernel calls, ${failed} failed`);
  });
}
