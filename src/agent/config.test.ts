// The agent's configuration: what a file may leave out, and what no node can have.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../base/config.ts";
import { isFault } from "../base/fault.ts";
import { type AgentConfig, agentConfigSchema } from "./config.ts";

const least = { node: { name: "node-1" }, addresses: { mode: "routes", blocks: ["10.4.1.0/24"] } };

const parse = (part: object): AgentConfig => parseConfig(agentConfigSchema, JSON.stringify({ ...least, ...part }), "f");

test("a name and a block are enough; docs/agent.md says the rest", () => {
  const { node, addresses, ...rest } = parse({});
  assert.deepEqual([node, addresses], [least.node, least.addresses]);
  assert.deepEqual(rest, {
    paths: {
      socket: "/run/fairlead/cni.sock",
      state: "/var/lib/fairlead",
      cniConf: "/etc/cni/net.d",
      cniBin: "/opt/cni/bin",
      etc: "/etc",
    },
    routes: [],
    mtu: "auto",
    masquerade: {
      enabled: false,
      configFile: "/etc/fairlead/ip-masq-agent",
      podRanges: [],
      ipv6: false,
      nomasqAllReservedRanges: false,
      toPorts: [],
      randomFully: true,
    },
    policy: { groupsJudgeOwnNode: false, allowDns: null, metadata: "open" },
    host: { dropIns: true },
    status: "normal",
    log: { level: "info" },
  });
});

test("what a node cannot have is refused by its key", () => {
  const blocks = (...of: string[]): object => ({ addresses: { mode: "routes", blocks: of } });
  const cases: [part: object, problem: RegExp][] = [
    [{ node: { name: "Node 1" } }, /node\.name: must be a node name/],
    [{ node: {} }, /node\.name: is missing/],
    [{ addresses: { mode: "ranges", blocks: ["10.4.1.0/24"] } }, /addresses\.mode: only "routes" is known/],
    [blocks(), /addresses\.blocks: needs at least one block/],
    [blocks("10.4.1.1/24"), /addresses\.blocks\[0\]: "10\.4\.1\.1\/24" has bits set/],
    [blocks("10.0.0.0/15"), /addresses\.blocks\[0\]: is too large for one node/],
    [blocks("fd00::/47"), /addresses\.blocks\[0\]: is too large for one node/],
    [blocks("10.4.0.0/16", "10.4.7.0/24"), /addresses\.blocks\[1\]: 10\.4\.7\.0\/24 overlaps 10\.4\.0\.0\/16/],
    [{ routes: [{ to: "10.4.2.0/24", via: "fd00::1" }] }, /routes\[0\]: `to` and `via` must be of one family/],
    [{ routes: [{ to: "10.4.2.0/24", via: "next" }] }, /routes\[0\]\.via: "next" is not an IP address/],
    [{ mtu: 1279 }, /mtu: .*at least 1280/],
    [{ paths: { socket: "run/cni.sock" } }, /paths\.socket: must be an absolute path/],
    [{ paths: { socket: `/${"s".repeat(107)}` } }, /paths\.socket: Too big/],
    [{ status: "honest" }, /status: /],
    [{ masquerade: { toPorts: "1024-" } }, /masquerade\.toPorts: "1024-" is not a list of ports/],
    [{ masquerade: { toPorts: "1-9,5-20" } }, /masquerade\.toPorts: .* none of which overlap/],
    [{ masquerade: { podRanges: ["10.4.0.1/14"] } }, /masquerade\.podRanges\[0\]: "10\.4\.0\.1\/14" has bits set/],
    [{ masquerade: { enableIpv6: true } }, /masquerade: Unrecognized key: "enableIpv6"/],
    [{ tracing: true }, /\(top level\): Unrecognized key: "tracing"/],
  ];
  for (const [part, problem] of cases) {
    assert.throws(
      () => parse(part),
      (error) => isFault(error, "bad-config") && problem.test(error.message),
      JSON.stringify(part),
    );
  }
  assert.doesNotThrow(() => parse(blocks("10.4.0.0/16", "fd00::/48", "10.5.0.0/32")));
});
