// A rule goes by which 10,000 of 150,000 tracked flows passed: exactly these are cut, soon, and the agent answers others meanwhile.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { openTracker } from "../conntrack-entries.ts";
import { fillFlows, flowsOf } from "../flow-fill.ts";
import type { TestNetns } from "../netns.ts";
import { addPod, pings, servingAgent } from "../policy-node.ts";
import { until } from "../until.ts";
import { execOk } from "../../lab/exec.ts";
import { until as untilWithin } from "../../lab/waiting.ts";
import { present } from "../../src/base/assert.ts";
import { type NetworkPolicy, networkPolicies } from "../../src/kube/policy-objects.ts";

const port = 5432;
/** Callers whose rule goes first, whose rule goes then, and whose rule stays. */
const [first, second, wanted] = ["198.18.0.0/16", "198.19.0.0/16", "198.51.100.0/22"] as const;
const cut = 10_000;
const counts = { [first]: cut, [second]: cut, [wanted]: 60_000 } as const;
/** Of a pod that nothing judges. */
const elsewhere = 70_000;
const ofAllRules = 2 * cut + counts[wanted];
const all = 150_000;
/** Design 14: from the edit until the last of them is gone; of a machine that has much else to do, what it gives this process is counted. */
const cutWithinMs = 2_000;
/** The agent judges on one while the kernel is asked for more on another. */
const processors = 2;
const waitedMsMax = 60_000;
/** Longer than this the agent's own work keeps nobody waiting, in time of the processor; but for what garbage costs now and then. */
const turnMsMax = 10;
const longTurnsMax = 5;

/** Gives what counts the tracked flows of a namespace at little cost: by a process in it that does nothing, until `t` ends. */
function countFlows(t: TestContext, node: TestNetns): () => number {
  const child = spawn("ip", ["netns", "exec", node.name, "cat"], { stdio: ["pipe", "ignore", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  return () => {
    const [, ofFirst = ""] = readFileSync(`/proc/${child.pid}/net/stat/nf_conntrack`, "latin1").split("\n");
    return Number.parseInt(ofFirst, 16);
  };
}

/** Looks at every turn of the event loop how much of the processor it took; gives all that took longer than they should, in ms, and the longest. */
function watchTurns(t: TestContext): () => { long: number[]; longestMs: number } {
  let running = true;
  let longestMs = 0;
  const long: number[] = [];
  const spentMs = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let before = spentMs();
  const turn = (): void => {
    const now = spentMs();
    longestMs = Math.max(longestMs, now - before);
    if (now - before > turnMsMax) long.push(now - before);
    before = now;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  t.after(() => (running = false));
  return () => {
    running = false;
    return { long, longestMs };
  };
}

const lettingIn = (...networks: string[]): NetworkPolicy =>
  networkPolicies.parse({
    metadata: { namespace: "default", name: "db" },
    spec: {
      podSelector: { matchLabels: { app: "db" } },
      ingress: [{ from: networks.map((cidr) => ({ ipBlock: { cidr } })) }],
    },
  });

/** Callers of an address that are tracked, by address and port: too many for the helper of namespaces. */
async function callersOf({ name }: TestNetns, address: string): Promise<string[]> {
  const pick = `s/.*src=\\(198[^ ]*\\) dst=${address} sport=\\([0-9]*\\).*/\\1 \\2/p`;
  const script = `conntrack -L -d ${address} 2>/dev/null | sed -n '${pick}'`;
  const listed = await execOk("sh", ["-c", script], { netns: name, env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } });
  return listed.trim().split("\n").toSorted();
}

test("10,000 of 150,000 flows are cut when their rule goes: these and no others, and the agent goes on with its work", async (t) => {
  const agent = await servingAgent(t);
  const { kube, node } = agent;
  const db = await addPod(t, agent, "db", { app: "db" });
  const web = await addPod(t, agent, "web", { app: "web" });
  await kube.create(networkPolicies, lettingIn(first, second, wanted));
  await until("the pod is judged", () => !pings(web, db, 0));
  const [address, free] = [present(db.addresses[0], "address"), present(web.addresses[0], "address")];
  const count = countFlows(t, node);
  const ofPod = Object.entries(counts).map(([from, many]) => ({ count: many, from, to: address, port }));
  await fillFlows(openTracker(t, node.path), [...ofPod, { count: elsewhere, from: first, to: free, port }]);
  const before = count();
  assert.ok(before >= all, `${before} flows`);

  /** Takes a rule away; settles when as many flows are gone as should be. */
  const narrow = async (cuts: number, ...networks: string[]): Promise<void> => {
    const held = await kube.get(networkPolicies, { namespace: "default", name: "db" });
    await kube.replace(networkPolicies, { ...held, spec: lettingIn(...networks).spec });
    const left = async (): Promise<string | undefined> => {
      const gone = before - count();
      return gone >= cuts ? undefined : `${gone} of ${cuts} are gone`;
    };
    await untilWithin(left, { what: "flows are cut", withinMs: waitedMsMax });
  };
  const [startedMs, startedUs] = [performance.now(), process.cpuUsage()];
  await narrow(cut, second, wanted);
  const { user, system } = process.cpuUsage(startedUs);
  const spentMs = (user + system) / 1000;
  const lastMs = performance.now() - startedMs;
  assert.deepEqual(
    [before - count(), (await callersOf(node, address)).length],
    [cut, ofAllRules - cut],
    "these and no others",
  );

  const endOfTurns = watchTurns(t);
  await narrow(2 * cut, wanted);
  const { long, longestMs } = endOfTurns();
  t.diagnostic(
    `${cut} of ${before} flows cut: the last ${lastMs.toFixed(0)} ms after the edit was sent, for ${spentMs.toFixed(0)} ms of the processor; the longest turn of the event loop took ${longestMs.toFixed(1)} ms of it`,
  );
  const expected = Array.from(
    flowsOf({ count: counts[wanted], from: wanted, to: address, port }),
    ({ original }) => `${original.source} ${original.sourcePort}`,
  );
  assert.equal((await callersOf(node, address)).join() === expected.toSorted().join(), true, "whose rule stays, stays");
  assert.equal((await callersOf(node, free)).length, elsewhere, "a pod that nothing judges keeps its own");
  assert.ok(spentMs < processors * cutWithinMs, `${spentMs.toFixed(0)} ms of the processor`);
  assert.ok(long.length <= longTurnsMax, `${long.length} turns of more than ${turnMsMax} ms`);
});
