// A pod's second interface: it uses its own addresses, and leaves nothing. (When the first packet passes: first-packet.kernel.test.ts.)

import assert from "node:assert/strict";
import { test } from "node:test";
import { startTestAgent, type CniResult } from "../../test/agent.ts";
import { makeNetns } from "../../test/netns.ts";
import { Fault } from "../base/fault.ts";
import type { Op } from "../kernel/contract.ts";

const prevResult = (result: CniResult): { config: { prevResult: CniResult } } => ({ config: { prevResult: result } });
const messageOf = (stdout: string): string => (JSON.parse(stdout) as { msg: string }).msg;

test("a second interface answers at its own addresses, CHECK knows its rules, and its DEL takes them back", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const first = { netns: pod.path };
  const second = { netns: pod.path, ifname: "net1" };
  await agent.add(first);
  const result = await agent.add(second);
  const addresses = result.ips.map(({ address }) => address.replace(/\/.*/, ""));
  const rules = (): string => pod.run("ip", "rule") + pod.run("ip", "-6", "rule");
  for (const address of addresses) {
    agent.node.run("ping", "-c1", "-W5", address);
    assert.match(rules(), new RegExp(`from ${address} lookup \\d+ proto 142`));
  }
  assert.equal((await agent.cni("CHECK", { ...second, ...prevResult(result) })).exitCode, 0);
  const [v4 = ""] = addresses;
  const [, table = ""] = new RegExp(`from ${v4} lookup (\\d+)`).exec(rules()) ?? [];
  pod.run("ip", "rule", "delete", "from", v4);
  const { exitCode, stdout } = await agent.cni("CHECK", { ...second, ...prevResult(result) });
  assert.equal(exitCode, 1);
  assert.match(messageOf(stdout), new RegExp(`: the rule from ${v4}/32 to table ${table} is missing in the pod$`));
  assert.equal((await agent.cni("DEL", second)).exitCode, 0);
  assert.doesNotMatch(rules(), /142/);
  for (const target of ["172.30.0.11", "fd00:30::11"]) pod.run("ping", "-c1", "-W5", target);
});

test("a second interface that cannot be made leaves no rule in the pod", async (t) => {
  let refuses = false;
  const agent = await startTestAgent(t, {
    wrap: (kernel) => ({
      ...kernel,
      openNetns: (path) => {
        const netns = kernel.openNetns(path);
        const { apply } = netns;
        return Object.assign(netns, {
          apply: async (ops: readonly Op[]) => {
            const results = await apply.call(netns, ops);
            if (refuses && ops.some(({ op }) => op === "rule.add")) throw new Fault("kernel-refused", "planned");
            return results;
          },
        });
      },
    }),
  });
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  refuses = true;
  const { stdout } = await agent.cni("ADD", { netns: pod.path, ifname: "net1" });
  assert.match(messageOf(stdout), /planned/);
  assert.doesNotMatch(pod.run("ip", "rule") + pod.run("ip", "-6", "rule") + pod.run("ip", "link"), /142|net1/);
});
