// Fairlead as the IPAM of another plugin, through the real shim: addresses with their block's prefix, and nothing in the kernel.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startTestAgent, type TestAgent } from "../../test/agent.ts";
import { makeNetns } from "../../test/netns.ts";
import { askAgent } from "../cli/agent-client.ts";
import { statusSocket } from "./status.ts";

const config = { type: "bridge", ipam: { type: "fairlead-cni" } };

interface LentResult {
  ips: { address: string; gateway: string; interface?: number }[];
  routes: { dst: string; gw?: string }[];
  interfaces?: unknown[];
}

async function lend(agent: TestAgent, containerId: string, netns: string, more: object = {}): Promise<LentResult> {
  const { exitCode, stdout } = await agent.cni("ADD", { containerId, netns, config: { ...config, ...more } });
  assert.equal(exitCode, 0, stdout);
  return JSON.parse(stdout) as LentResult;
}

test("addresses are lent with prefix and gateway of their block, once, and taken back", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const call = { containerId: "c1", netns: pod.path, config };
  const { interfaces, ips, routes } = await lend(agent, "c1", pod.path);
  assert.deepEqual(interfaces ?? [], []);
  assert.deepEqual(ips, [
    { address: "10.4.1.2/24", gateway: "10.4.1.1" },
    { address: "fd00:10:4:1::2/64", gateway: "fd00:10:4:1::1" },
  ]);
  assert.deepEqual(routes, [{ dst: "0.0.0.0/0" }, { dst: "::/0" }]);
  assert.doesNotMatch(pod.run("ip", "link"), /eth0/);
  assert.doesNotMatch(agent.node.run("ip", "link"), /\bfl[0-9a-f]{13}/);

  const again = await agent.cni("ADD", call);
  assert.equal((JSON.parse(again.stdout) as { code: number }).code, 100);
  const prevResult = { cniVersion: "1.1.0", interfaces: [], ips };
  const check = await agent.cni("CHECK", { ...call, config: { ...config, prevResult } });
  assert.deepEqual(check, { exitCode: 0, stdout: "", stderr: "" });
  const wrong = { ...prevResult, ips: [{ address: "10.4.1.9/24" }] };
  assert.match(
    (await agent.cni("CHECK", { ...call, config: { ...config, prevResult: wrong } })).stdout,
    /does not list 10\.4\.1\.2/,
  );

  await agent.stop();
  await agent.start(); // a lease without a link outlives the agent
  assert.equal(((await askAgent(statusSocket(agent.config.paths.socket), "/pods")) as unknown[]).length, 1);
  for (let time = 0; time < 2; time += 1) assert.equal((await agent.cni("DEL", call)).exitCode, 0);
  assert.deepEqual(await askAgent(statusSocket(agent.config.paths.socket), "/pods"), []);
  assert.match((await agent.cni("CHECK", { ...call, config: { ...config, prevResult } })).stdout, /not reserved/);
  assert.equal((await lend(agent, "c2", pod.path)).ips[0]?.address, "10.4.1.3/24", "the first one cools");
});

test("certain addresses, ranges and dns are honoured; lent and attached addresses never meet", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const asked = await lend(agent, "c1", pod.path, {
    runtimeConfig: { ips: ["10.4.1.9"], dns: { servers: ["10.0.0.10"] } },
  });
  assert.deepEqual(
    asked.ips.map(({ address }) => address),
    ["10.4.1.9/24", "fd00:10:4:1::2/64"],
  );
  assert.deepEqual((asked as { dns?: unknown }).dns, { nameservers: ["10.0.0.10"] });
  const taken = await agent.cni("ADD", {
    containerId: "c2",
    netns: pod.path,
    config: { runtimeConfig: { ips: ["10.4.1.9"] } },
  });
  assert.equal((JSON.parse(taken.stdout) as { code: number }).code, 11);
  const { ips } = await agent.add({ containerId: "c3", netns: pod.path });
  assert.deepEqual(
    ips.map(({ address }) => address),
    ["10.4.1.10/32", "fd00:10:4:1::3/128"],
  );
});

test("a block too small for a gateway is not lent from", async (t) => {
  const agent = await startTestAgent(t, { blocks: ["10.4.1.0/30"] });
  const pod = makeNetns(t);
  const { stdout } = await agent.cni("ADD", { netns: pod.path, config });
  const { code, msg } = JSON.parse(stdout) as { code: number; msg: string };
  assert.equal(code, 2);
  assert.match(msg, /10\.4\.1\.0\/30/);
});

test("GC takes back what the runtime no longer lists", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  for (const id of ["c1", "c2"]) await lend(agent, id, pod.path);
  const listed = { ...config, "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] };
  assert.equal((await agent.cni("GC", { config: listed })).exitCode, 0);
  const left = (await askAgent(statusSocket(agent.config.paths.socket), "/pods")) as { containerId: string }[];
  assert.deepEqual(
    left.map(({ containerId }) => containerId),
    ["c2"],
  );
});
