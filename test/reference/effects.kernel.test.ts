// What bandwidth, tuning, firewall, sbr and loopback do to a pod of ours really happens, works with our routed link, and goes with DEL.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { needsReference } from "./programs.ts";
import { addressOf, assertReached, nodeAddresses, outsideAddresses, startStage } from "./stage.ts";

const families = [4, 6] as const;

// A probe sends 16 KiB and gets as many back. Of these, 8 kB pass at once (the burst); the rest takes 0.26 s at this rate.
const limit = { rate: 256_000, burst: 64_000 };
const limitedMsMin = 250;
const limitedMsMax = 8_000;

for (const direction of ["ingress", "egress"] as const) {
  test(`bandwidth holds the pod's ${direction} to its rate`, needsReference, async (t) => {
    const stage = await startStage(t);
    const { runtime, agent } = stage;
    runtime.configure("slow", [{ type: "fairlead-cni" }, { type: "bandwidth", capabilities: { bandwidth: true } }]);
    const bandwidth = { [`${direction}Rate`]: limit.rate, [`${direction}Burst`]: limit.burst };
    const pod = stage.pod();
    const result = await runtime.add("slow", pod, { capabilities: { bandwidth } });
    await stage.serve(pod, "pod");
    const hostLink = present(result.interfaces[0], "host link").name;
    const ifb = result.interfaces.find(({ name }) => name.startsWith("bwp"))?.name;
    assert.equal(ifb !== undefined, direction === "egress");
    const queues = agent.node.run("tc", "qdisc", "show", "dev", ifb ?? hostLink);
    assert.match(queues, /tbf .* rate 256Kbit burst 8000b/);
    for (const family of families) {
      const { ok, ms, error } = await stage.probe(stage.outside, addressOf(result, family));
      assert.ok(ok && ms >= limitedMsMin && ms <= limitedMsMax, `${ms} ms over IPv${family}: ${error}`);
    }
    await runtime.ok("del", "slow", pod, { capabilities: { bandwidth } });
    await stage.snapshot();
    assert.doesNotMatch(agent.node.run("tc", "qdisc"), /tbf|ingress/);
    assert.doesNotMatch(agent.node.run("ip", "link"), /bwp/);
  });
}

test("tuning: settings and flags of the pod's link are there, and CHECK still agrees", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  const sysctl = { "net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1" };
  const tuning = { type: "tuning", dataDir: runtime.dataDir, sysctl, promisc: true, allmulti: true, txQLen: 500 };
  runtime.configure("tuned", [{ type: "fairlead-cni" }, tuning]);
  const pod = stage.pod();
  const result = await runtime.add("tuned", pod);
  await stage.serve(pod, "pod");
  const settings = pod.run("cat", "/proc/sys/net/core/somaxconn", "/proc/sys/net/ipv4/conf/eth0/arp_filter");
  assert.equal(settings, "500\n1\n");
  assert.match(pod.run("ip", "link", "show", "eth0"), /<.*PROMISC.*> .* qlen 500/);
  assert.match(pod.run("ip", "link", "show", "eth0"), /<.*ALLMULTI.*>/);
  await assertReached(stage, pod, result);
  await runtime.ok("check", "tuned", pod);
  assert.equal(readdirSync(runtime.dataDir).length, 1, "what tuning will restore");
  await runtime.ok("del", "tuned", pod);
  assert.deepEqual(readdirSync(runtime.dataDir), []);
});

test(
  "tuning lowers the MTU: the pod works with it, and CHECK agrees as those of ptp and bridge do",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    runtime.configure("low", [{ type: "fairlead-cni" }, { type: "tuning", dataDir: runtime.dataDir, mtu: 1400 }]);
    const pod = stage.pod();
    const result = await runtime.add("low", pod);
    await stage.serve(pod, "pod");
    assert.match(pod.run("ip", "link", "show", "eth0"), /mtu 1400/);
    await assertReached(stage, pod, result);
    await runtime.ok("check", "low", pod);
    await runtime.ok("del", "low", pod);
  },
);

test(
  "a hardware address is asked of ours: the pod is reached; tuning behind ours cuts it off, and CHECK says so",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    const mac = "02:00:00:00:00:77";
    const capabilities = { mac: true };
    const tuning = { type: "tuning", dataDir: runtime.dataDir };
    runtime.configure("ours", [{ type: "fairlead-cni", capabilities }, tuning]);
    runtime.configure("tuning", [{ type: "fairlead-cni" }, { ...tuning, capabilities }]);
    const pod = stage.pod();
    const result = await runtime.add("ours", pod, { capabilities: { mac } });
    await stage.serve(pod, "pod");
    assert.match(pod.run("ip", "link", "show", "eth0"), new RegExp(mac));
    assert.equal(result.interfaces[1]?.mac, mac);
    await assertReached(stage, pod, result);
    await runtime.ok("check", "ours", pod, { capabilities: { mac } });
    await runtime.ok("del", "ours", pod, { capabilities: { mac } });
    const other = stage.pod();
    await runtime.add("tuning", other, { capabilities: { mac } });
    const refusal = await runtime.refused("check", "tuning", other, { capabilities: { mac } });
    assert.match(refusal, /hardware address of eth0 in the pod is 02:00:00:00:00:77, not/);
    await runtime.ok("del", "tuning", other, { capabilities: { mac } });
  },
);

test("firewall opens a node that forwards nothing else, for the pod's addresses only", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime, agent } = stage;
  for (const program of ["iptables", "ip6tables"]) agent.node.run(program, "-P", "FORWARD", "DROP");
  runtime.configure("open", [{ type: "fairlead-cni" }, { type: "firewall", backend: "iptables" }]);
  runtime.configure("closed", [{ type: "fairlead-cni" }]);
  const [pod, closed] = [stage.pod(), stage.pod()];
  const result = await runtime.add("open", pod);
  await runtime.add("closed", closed);
  const rules = (): string =>
    ["iptables", "ip6tables"].map((word) => agent.node.run(word, "-S", "CNI-FORWARD")).join("");
  for (const family of families) {
    const address = `${addressOf(result, family)}/${family === 4 ? 32 : 128}`;
    assert.ok(rules().includes(`-s ${address} -j ACCEPT`), rules());
    assert.ok(rules().includes(`-d ${address} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`), rules());
    pod.run("ping", "-c1", "-W2", outsideAddresses[family]);
    assert.throws(() => closed.run("ping", "-c1", "-W1", outsideAddresses[family]));
  }
  await runtime.ok("check", "open", pod);
  await runtime.ok("del", "open", pod);
  assert.doesNotMatch(rules(), /ACCEPT/);
  await runtime.ok("del", "closed", closed);
});

test(
  "sbr gives each address its own table; who binds to it is served, and CHECK finds the routes where they are",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    runtime.configure("sourced", [{ type: "fairlead-cni" }, { type: "sbr" }]);
    const pod = stage.pod();
    const result = await runtime.add("sourced", pod);
    for (const [family, table] of [
      [4, "100"],
      [6, "101"],
    ] as const) {
      const address = addressOf(result, family);
      assert.match(pod.run("ip", `-${family}`, "rule"), new RegExp(`from ${address} lookup ${table}\\b`));
      const via = family === 4 ? "169.254.1.1" : "fe80::1";
      assert.match(
        pod.run("ip", `-${family}`, "route", "show", "table", table),
        new RegExp(`default via ${via} dev eth0`),
      );
      assert.equal(pod.run("ip", `-${family}`, "route", "show", "default"), "");
      pod.run("ping", "-c1", "-W2", "-I", address, outsideAddresses[family]);
    }
    await runtime.ok("check", "sourced", pod);
    pod.run("ip", "route", "flush", "table", "100");
    assert.match(await runtime.refused("check", "sourced", pod), /route 0\.0\.0\.0\/0 via 169\.254\.1\.1 is missing/);
    await runtime.ok("del", "sourced", pod);
    assert.doesNotMatch(pod.run("ip", "rule") + pod.run("ip", "-6", "rule"), /lookup 10[01]/);
  },
);

test(
  "sbr on a pod's second interface: the first keeps the default route, each address uses its own link",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime, outside } = stage;
    runtime.configure("first", [{ type: "fairlead-cni" }]);
    runtime.configure("second", [{ type: "fairlead-cni" }, { type: "sbr" }]);
    const pod = stage.pod();
    const first = await runtime.add("first", pod);
    const second = await runtime.add("second", pod, { ifname: "net1" });
    await stage.serve(pod, "pod");
    for (const family of families) {
      const leaves = (from: string): string =>
        pod.run("ip", `-${family}`, "route", "get", outsideAddresses[family], "from", from);
      assert.match(leaves(addressOf(first, family)), / dev eth0 /);
      assert.match(leaves(addressOf(second, family)), / dev net1 /);
      for (const result of [first, second]) {
        const { name, error } = await stage.probe(outside, addressOf(result, family));
        assert.equal(name, "pod", `IPv${family}: ${error}`);
      }
    }
    await runtime.ok("check", "first", pod);
    await runtime.ok("del", "second", pod, { ifname: "net1" });
    await runtime.ok("check", "first", pod);
    for (const family of families) pod.run("ping", "-c1", "-W2", nodeAddresses[family]);
    await runtime.ok("del", "first", pod);
  },
);

test(
  "loopback in front: its result comes first in ours, and DEL takes the pod's loopback down last",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    runtime.configure("looped", [{ type: "loopback" }, { type: "fairlead-cni" }]);
    const pod = stage.pod();
    const { interfaces, ips } = await runtime.add("looped", pod);
    assert.deepEqual(
      interfaces.map(({ name, sandbox }) => [name.replace(/^fl.*/, "fl"), sandbox ?? ""]),
      [
        ["lo", pod.path],
        ["fl", ""],
        ["eth0", pod.path],
      ],
    );
    assert.deepEqual(
      ips.map(({ interface: on }) => on),
      [0, 0, 2, 2],
    );
    pod.run("ping", "-c1", "-W5", "127.0.0.1");
    for (const family of families) pod.run("ping", "-c1", "-W2", outsideAddresses[family]);
    await runtime.ok("check", "looped", pod);
    await runtime.ok("del", "looped", pod);
    assert.doesNotMatch(pod.run("ip", "link", "show", "lo"), /,UP/);
  },
);
