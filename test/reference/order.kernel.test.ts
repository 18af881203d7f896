// Ours at every place of a list: first, in the middle, behind a plugin that needs another's result, and beside one that wants the same interface.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../until.ts";
import { needsReference } from "./programs.ts";
import type { PluginConfig } from "./runtime.ts";
import { nodeAddresses, outsideAddresses, podPort, type Stage, startStage } from "./stage.ts";

const ours: PluginConfig = { type: "fairlead-cni" };

const options = {
  capabilities: {
    portMappings: [{ protocol: "tcp", hostPort: 8080, containerPort: podPort }],
    bandwidth: { ingressRate: 1e9, ingressBurst: 1e9, egressRate: 1e9, egressBurst: 1e9 },
  },
};

/** All that may stand behind ours, with ours second. */
function everything({ runtime }: Stage): PluginConfig[] {
  return [
    { type: "loopback" },
    ours,
    { type: "tuning", dataDir: runtime.dataDir, sysctl: { "net.core.somaxconn": "500" } },
    { type: "portmap", backend: "nftables", capabilities: { portMappings: true } },
    { type: "bandwidth", capabilities: { bandwidth: true } },
    { type: "firewall", backend: "iptables" },
    { type: "sbr", table: 500 },
  ];
}

test(
  "in the middle of six others: every verb, and each plugin's part of the result stays",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime, agent } = stage;
    runtime.configure("all", everything(stage));
    const before = await stage.snapshot();
    const pod = stage.pod();
    const { interfaces, ips } = await runtime.add("all", pod, options);
    assert.deepEqual(
      interfaces.map(({ name }) => name.replace(/^(fl|bwp).*/, "$1")),
      ["lo", "fl", "eth0", "bwp"],
    );
    assert.deepEqual(
      ips.map(({ address, interface: on }) => [address, on]),
      [
        ["127.0.0.1/8", 0],
        ["::1/128", 0],
        ["10.4.1.2/32", 2],
        ["fd00:10:4:1::2/128", 2],
      ],
    );
    await stage.serve(pod, "pod");
    for (const family of [4, 6] as const) {
      const { name, error } = await stage.probe(stage.outside, nodeAddresses[family], { port: 8080 });
      assert.equal(name, "pod", `IPv${family}: ${error}`);
    }
    await runtime.ok("check", "all", pod, options);
    await runtime.ok("status", "all", pod);
    await agent.stop();
    assert.match(await runtime.refused("status", "all", pod), /agent of this node cannot be reached/);
    await agent.start();
    await runtime.ok("check", "all", pod, options);
    await runtime.ok("gc", "all", pod); // cnitool lists nothing: libcni sends DEL for what it has cached
    assert.deepEqual(runtime.cached("all"), []);
    assert.doesNotMatch(pod.run("ip", "link"), /eth0/);
    assert.deepEqual((await stage.snapshot()).network, before.network);
  },
);

test("a pod whose namespace is gone: DEL of the list cleans the node", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  // Without sbr: its own DEL fails where the namespace is gone, whatever stands before it.
  runtime.configure(
    "all",
    everything(stage).filter(({ type }) => type !== "sbr"),
  );
  const before = await stage.snapshot();
  const pod = stage.pod();
  await runtime.add("all", pod, options);
  pod.remove();
  await runtime.ok("del", "all", pod, options);
  const after = await stage.snapshot();
  assert.deepEqual(after.network, before.network);
  assert.doesNotMatch(after.ruleset, /10\.4\.1\.1|fd00:10:4:1::1/);
});

test(
  "with the agent down: DEL does the others' part at once, and ours when the agent is back",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime, agent } = stage;
    runtime.configure("all", everything(stage));
    const before = await stage.snapshot();
    const pod = stage.pod();
    await runtime.add("all", pod, options);
    await agent.stop();
    assert.match(await runtime.refused("check", "all", pod, options), /agent of this node cannot be reached/);
    await runtime.ok("del", "all", pod, options);
    assert.doesNotMatch(agent.node.run("nft", "list", "table", "ip", "cni_hostport"), /10\.4\.1\.1/);
    assert.match(await runtime.refused("add", "all", pod, options), /agent of this node cannot be reached/);
    await runtime.ok("del", "all", pod, options); // a runtime always does, after an ADD that failed
    await agent.start();
    const releases = join(agent.config.paths.socket, "..", "releases");
    await until("the releases are applied", () => readdirSync(releases).length === 0);
    assert.deepEqual((await stage.snapshot()).network, before.network);
  },
);

// What each says where nothing stands before it. It is they who refuse: ours is not called, and its DEL succeeds all the same.
const needAnother: readonly (readonly [PluginConfig, RegExp])[] = [
  [{ type: "portmap", backend: "nftables", capabilities: { portMappings: true } }, /must be called as chained plugin/],
  [{ type: "bandwidth", capabilities: { bandwidth: true } }, /must be called as chained plugin/],
  [{ type: "tuning", sysctl: { "net.core.somaxconn": "500" } }, /Required prevResult missing/],
  [{ type: "firewall", backend: "iptables" }, /missing prevResult from earlier plugin/],
  [{ type: "sbr" }, /must be called as chained plugin/],
];

test(
  "in front of ours, a plugin that needs another's result refuses; nothing is made, and DEL is clean",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    const before = await stage.snapshot();
    const pod = stage.pod();
    for (const [plugin, words] of needAnother) {
      runtime.configure("wrong", [{ ...plugin, dataDir: runtime.dataDir }, ours]);
      assert.match(await runtime.refused("add", "wrong", pod, options), words, plugin.type);
      await runtime.ok("del", "wrong", pod, options);
      assert.deepEqual((await stage.snapshot()).network, before.network, plugin.type);
      assert.doesNotMatch(pod.run("ip", "link"), /eth0/, plugin.type);
    }
  },
);

test(
  "behind ptp or bridge, ours refuses the interface that they made and leaves it; DEL removes it",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    const ranges = [[{ subnet: "10.99.0.0/24" }]];
    const ipam = { type: "host-local", dataDir: runtime.dataDir, ranges, routes: [{ dst: "0.0.0.0/0" }] };
    for (const type of ["ptp", "bridge"]) {
      runtime.configure(type, [{ type, isGateway: true, ipam }, ours]);
      const pod = stage.pod();
      assert.match(await runtime.refused("add", type, pod), /eth0 exists in .* already and is not ours/);
      pod.run("ping", "-c1", "-W2", "10.99.0.1"); // theirs works as if ours were not there
      const { network, ruleset } = await stage.snapshot();
      assert.doesNotMatch(network["links"] ?? "", /^fl/m);
      assert.equal(network["given"], "0 and 0");
      assert.doesNotMatch(ruleset, /10\.4\.1/);
      await runtime.ok("del", type, pod);
      assert.doesNotMatch(pod.run("ip", "link"), /eth0/);
      assert.deepEqual(
        readdirSync(join(runtime.dataDir, type)).filter((file) => file.startsWith("10.")),
        [],
      );
    }
  },
);

test(
  "in front of ptp, ours is attached and ptp refuses; DEL, where ptp removes our link first, is clean",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    const ipam = { type: "host-local", dataDir: runtime.dataDir, ranges: [[{ subnet: "10.99.0.0/24" }]] };
    runtime.configure("both", [ours, { type: "ptp", ipam }]);
    const before = await stage.snapshot();
    const pod = stage.pod();
    assert.match(
      await runtime.refused("add", "both", pod),
      /container veth name \("eth0"\) .* already exists|file exists/,
    );
    pod.run("ping", "-c1", "-W2", outsideAddresses[4]);
    await runtime.ok("del", "both", pod);
    assert.deepEqual((await stage.snapshot()).network, before.network);
    assert.doesNotMatch(pod.run("ip", "link"), /eth0/);
  },
);

test(
  "a later plugin that fails leaves ours attached until DEL, and a new ADD of the same pod works",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    const before = await stage.snapshot();
    const pod = stage.pod();
    runtime.configure("late", [ours, { type: "tuning", dataDir: runtime.dataDir, sysctl: { "kernel.pid_max": "5" } }]);
    assert.match(await runtime.refused("add", "late", pod), /kernel\.pid_max|kernel\/pid_max/);
    assert.match(pod.run("ip", "link"), /eth0/);
    await runtime.ok("del", "late", pod);
    assert.deepEqual((await stage.snapshot()).network, before.network);
    runtime.configure("late", [ours]);
    await runtime.add("late", pod);
    pod.run("ping", "-c1", "-W2", outsideAddresses[6]);
    await runtime.ok("del", "late", pod);
  },
);
