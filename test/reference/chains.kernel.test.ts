// Ours in front of each reference plugin that adds to another's interface: every verb succeeds, each CHECK sees its own damage, nothing is left.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import type { CniResult } from "../agent.ts";
import type { TestNetns } from "../netns.ts";
import { needsReference } from "./programs.ts";
import type { CallOptions, PluginConfig } from "./runtime.ts";
import { podPort, startStage, type Snapshot, type Stage } from "./stage.ts";

interface Chain {
  name: string;
  /** What stands behind ours. */
  behind: (stage: Stage) => PluginConfig[];
  options?: CallOptions;
  /** Breaks what the plugin behind ours has made. */
  damage: (made: { stage: Stage; pod: TestNetns; result: CniResult }) => void;
  /** What its CHECK says then; undefined where it does not look (see below). */
  complains: RegExp | undefined;
}

const ports = { portMappings: [{ protocol: "tcp", hostPort: 8080, containerPort: podPort }] };
const rates = { bandwidth: { ingressRate: 8e6, ingressBurst: 1e6, egressRate: 8e6, egressBurst: 1e6 } };
const nameStarting = (result: CniResult, prefix: string): string =>
  present(
    result.interfaces.find(({ name }) => name.startsWith(prefix)),
    `interface ${prefix}*`,
  ).name;

const chains: readonly Chain[] = [
  {
    name: "portmap by nftables",
    behind: () => [{ type: "portmap", backend: "nftables", capabilities: { portMappings: true } }],
    options: { capabilities: ports },
    damage: ({ stage }) => stage.agent.node.run("nft", "flush", "chain", "ip6", "cni_hostport", "hostports"),
    complains: /missing hostport rules/,
  },
  {
    name: "portmap by iptables",
    behind: () => [{ type: "portmap", backend: "iptables", capabilities: { portMappings: true } }],
    options: { capabilities: ports },
    damage: ({ stage }) => stage.agent.node.run("ip6tables", "-t", "nat", "-F", "CNI-HOSTPORT-DNAT"),
    complains: /could not check ipv6 dnat/,
  },
  {
    name: "bandwidth",
    behind: () => [{ type: "bandwidth", capabilities: { bandwidth: true } }],
    options: { capabilities: rates },
    damage: ({ stage, result }) => stage.agent.node.run("ip", "link", "delete", nameStarting(result, "bwp")),
    complains: /get ifb device/,
  },
  {
    name: "tuning",
    behind: ({ runtime }) => [
      { type: "tuning", dataDir: runtime.dataDir, sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1" }, promisc: true },
    ],
    damage: ({ pod }) => pod.run("ip", "link", "set", "eth0", "promisc", "off"),
    complains: /configured promisc is true/,
  },
  {
    name: "firewall",
    behind: () => [{ type: "firewall", backend: "iptables" }],
    damage: ({ stage }) => stage.agent.node.run("iptables", "-F", "CNI-FORWARD"),
    complains: /expected CNI-FORWARD rule .* not found|expected rule .* not found/,
  },
  {
    name: "sbr with a table of its own",
    behind: () => [{ type: "sbr", table: 500 }],
    damage: ({ pod }) => pod.run("ip", "rule", "delete", "table", "500"),
    complains: undefined, // its CHECK is empty
  },
  {
    name: "loopback",
    behind: () => [{ type: "loopback" }],
    damage: ({ pod }) => pod.run("ip", "link", "set", "lo", "down"),
    complains: /loopback interface is down/,
  },
];

for (const chain of chains) {
  test(`ours, then ${chain.name}`, needsReference, async (t) => {
    const stage = await startStage(t);
    stage.runtime.configure("chain", [{ type: "fairlead-cni" }, ...chain.behind(stage)]);
    const before = await stage.snapshot();
    const pod = stage.pod();
    const afterFirst = await comeAndGo(stage, chain, pod);
    assert.deepEqual(afterFirst.network, before.network);
    // The second time leaves just what the first one left: nothing accumulates.
    assert.deepEqual(await comeAndGo(stage, chain, pod), afterFirst);

    const result = await stage.runtime.add("chain", pod, chain.options);
    chain.damage({ stage, pod, result });
    if (chain.complains === undefined) await stage.runtime.ok("check", "chain", pod, chain.options);
    else assert.match(await stage.runtime.refused("check", "chain", pod, chain.options), chain.complains);
    pod.run("ip", "route", "delete", "default");
    assert.match(await stage.runtime.refused("check", "chain", pod, chain.options), /route 0\.0\.0\.0\/0 .* missing/);
    await stage.runtime.ok("del", "chain", pod, chain.options);
    assert.deepEqual((await stage.snapshot()).network, before.network);
  });
}

/** One pod from ADD to a repeated DEL; gives what is there afterwards. */
async function comeAndGo({ runtime, snapshot, agent }: Stage, { options }: Chain, pod: TestNetns): Promise<Snapshot> {
  const { ips } = await runtime.add("chain", pod, options);
  for (const target of ["172.30.0.11", "fd00:30::11"]) pod.run("ping", "-c1", "-W5", target);
  await runtime.ok("check", "chain", pod, options);
  await runtime.ok("status", "chain", pod);
  await agent.stop();
  await agent.start();
  await runtime.ok("check", "chain", pod, options);
  await runtime.ok("del", "chain", pod, options);
  assert.deepEqual(runtime.cached("chain"), []);
  await runtime.ok("del", "chain", pod, options);
  await runtime.ok("gc", "chain", pod);
  const after = await snapshot();
  const addresses = ips.map(({ address }) => address.replace(/\/.*/, ""));
  for (const address of addresses) assert.doesNotMatch(JSON.stringify(after), new RegExp(`\\b${address}\\b`));
  return after;
}
