// Ours as the address management of the reference's bridge and ptp: they make the links, our agent gives and takes the addresses.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../until.ts";
import { needsReference } from "./programs.ts";
import type { PluginConfig } from "./runtime.ts";
import { addressOf, assertReached, type Stage, startStage } from "./stage.ts";

const ipam = { type: "fairlead-cni", routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }] };

const mains: readonly PluginConfig[] = [
  { type: "bridge", bridge: "br0", isGateway: true, ipam },
  { type: "ptp", ipam },
];

/** Is there any link on the node that our agent has made? With others' links it has no business. */
async function assertNoLinkOfOurs({ snapshot }: Stage): Promise<void> {
  const { network, ruleset } = await snapshot();
  assert.doesNotMatch(network["links"] ?? "", /^fl/m);
  assert.doesNotMatch(ruleset, /elements/);
}

for (const main of mains) {
  test(
    `${main.type} with our addresses: pods are reached, every verb succeeds, addresses come back`,
    needsReference,
    async (t) => {
      const stage = await startStage(t);
      const { runtime, agent } = stage;
      runtime.configure("lent", [main]);
      const [pod, other] = [stage.pod(), stage.pod()];
      const result = await runtime.add("lent", pod);
      const second = await runtime.add("lent", other);
      for (const family of [4, 6] as const) {
        const block = family === 4 ? "10.4.1." : "fd00:10:4:1::";
        assert.ok(addressOf(result, family).startsWith(block), addressOf(result, family));
        const gateways = [result, second].flatMap(({ ips }) => ips.map(({ gateway }) => gateway));
        const held = [addressOf(result, family), addressOf(second, family)];
        assert.equal(new Set(held).size, 2);
        assert.ok(!gateways.some((gateway) => held.includes(gateway)), "a pod has the gateway's address");
      }
      await assertNoLinkOfOurs(stage);
      assert.deepEqual(await stage.liveAddresses(), [2, 2]);
      pod.run("ip", "link", "set", "lo", "up"); // bridge and ptp leave that to the runtime
      await stage.serve(pod, "pod");
      // The reference makes sure for a second or two that the gateway's IPv6 address is nobody else's.
      await until("the pod answers over IPv6", async () => (await stage.probe(agent.node, addressOf(result, 6))).ok);
      await assertReached(stage, pod, result);
      assert.ok((await stage.probe(other, addressOf(result, 4))).ok);

      await runtime.ok("check", "lent", pod);
      await runtime.ok("status", "lent", pod);
      await agent.stop();
      await agent.start();
      await runtime.ok("check", "lent", pod);
      const third = stage.pod();
      assert.notEqual(addressOf(await runtime.add("lent", third), 4), addressOf(result, 4));
      await runtime.ok("del", "lent", third);
      await runtime.ok("del", "lent", pod);
      await runtime.ok("del", "lent", pod);
      assert.deepEqual(await stage.liveAddresses(), [1, 1]);
      await runtime.ok("gc", "lent", pod); // libcni sends DEL for the one that it has cached
      assert.deepEqual(await stage.liveAddresses(), [0, 0]);
    },
  );

  test(
    `${main.type} with our addresses, and the agent down: ADD and STATUS say so, DEL is made good later`,
    needsReference,
    async (t) => {
      const stage = await startStage(t);
      const { runtime, agent } = stage;
      runtime.configure("lent", [main]);
      const [pod, late] = [stage.pod(), stage.pod()];
      await runtime.add("lent", pod);
      await agent.stop();
      for (const verb of ["add", "status"]) {
        assert.match(await runtime.refused(verb, "lent", late), /agent of this node cannot be reached/);
      }
      await runtime.ok("del", "lent", late);
      await runtime.ok("del", "lent", pod);
      await agent.start();
      const releases = join(agent.config.paths.socket, "..", "releases");
      await until("the releases are applied", () => readdirSync(releases).length === 0);
      assert.deepEqual(await stage.liveAddresses(), [0, 0]);
    },
  );
}

test(
  "what an address management answers: addresses, routes and nothing of links, which it does not touch",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { agent } = stage;
    const pod = stage.pod();
    const call = { netns: pod.path, config: { type: "bridge", ipam } };
    const added = await agent.cni("ADD", call);
    assert.equal(added.exitCode, 0, added.stdout);
    const result = JSON.parse(added.stdout) as Record<string, unknown> & { ips: Record<string, unknown>[] };
    assert.deepEqual(result["interfaces"] ?? [], []);
    assert.deepEqual(
      result.ips.map((ip) => "interface" in ip),
      [false, false],
    );
    assert.doesNotMatch(pod.run("ip", "link"), /eth0/);
    await assertNoLinkOfOurs(stage);
    assert.equal((await agent.cni("CHECK", { ...call, config: { ...call.config, prevResult: result } })).exitCode, 0);
    const stranger = { ...call, containerId: "c2", config: { ...call.config, prevResult: result } };
    assert.notEqual((await agent.cni("CHECK", stranger)).exitCode, 0, "no address is reserved for it");
    assert.equal((await agent.cni("DEL", call)).exitCode, 0);
    assert.deepEqual(await stage.liveAddresses(), [0, 0]);
  },
);

test("ptp that fails after it got our addresses gives them back", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  runtime.configure("lent", [{ type: "ptp", ipam }]);
  const pod = stage.pod();
  pod.run("ip", "link", "add", "eth0", "type", "bridge");
  assert.match(await runtime.refused("add", "lent", pod), /eth0.* already exists|file exists/);
  assert.deepEqual(await stage.liveAddresses(), [0, 0]);
});

test("a block without a free address: bridge tells our words, and DEL leaves nothing", needsReference, async (t) => {
  const stage = await startStage(t, { blocks: ["10.4.1.0/29"] });
  const { runtime } = stage;
  runtime.configure("lent", [{ type: "bridge", bridge: "br0", isGateway: true, ipam: { type: "fairlead-cni" } }]);
  const pods = Array.from({ length: 8 }, () => stage.pod());
  const said: string[] = [];
  for (const pod of pods) {
    const { code, stderr } = await runtime.cnitool("add", "lent", pod);
    if (code !== 0) said.push(stderr);
  }
  assert.ok(said.length >= 2 && said.length <= 4, `${said.length} of 8 refused`);
  for (const words of said) assert.match(words, /no free IPv4 address on this node/);
  for (const pod of pods) await runtime.ok("del", "lent", pod);
  assert.deepEqual(await stage.liveAddresses(), [0]);
});

test(
  "GC reaches us only directly, since bridge and ptp forward none: the listed keep their addresses",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { agent } = stage;
    const config = { type: "bridge", ipam };
    for (const containerId of ["keep", "drop"]) {
      const { exitCode, stdout } = await agent.cni("ADD", { containerId, netns: stage.pod().path, config });
      assert.equal(exitCode, 0, stdout);
    }
    const list = { "cni.dev/valid-attachments": [{ containerID: "keep", ifname: "eth0" }] };
    assert.equal((await agent.cni("GC", { config })).exitCode, 0);
    assert.deepEqual(await stage.liveAddresses(), [2, 2]);
    assert.equal((await agent.cni("GC", { config: { ...config, ...list } })).exitCode, 0);
    assert.deepEqual(await stage.liveAddresses(), [1, 1]);
  },
);
