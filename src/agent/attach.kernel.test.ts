// ADD, DEL and CHECK through the real shim and the real kernel: what works, what is refused, and that nothing is left.

import assert from "node:assert/strict";
import { existsSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { reaped, startTestAgent, type CniResult, type TestAgent } from "../../test/agent.ts";
import { makeNetns, type TestNetns } from "../../test/netns.ts";
import { until } from "../../test/until.ts";

interface CniError {
  code: number;
  msg: string;
}

const asError = (stdout: string): CniError => JSON.parse(stdout) as CniError;

/** Everything of ours on the node, as plain text. */
function ours({ node }: TestAgent): { links: string[]; routes: string; guard: string } {
  const links = JSON.parse(node.run("ip", "-j", "link")) as { ifname: string }[];
  return {
    links: links.map(({ ifname }) => ifname).filter((name) => name.startsWith("fl")),
    routes: `${node.run("ip", "route", "show", "proto", "142")}${node.run("ip", "-6", "route", "show", "proto", "142")}`,
    guard: node.run("nft", "list", "table", "inet", "fairlead"),
  };
}

function assertNothingLeft(agent: TestAgent): void {
  const { links, routes, guard } = ours(agent);
  assert.deepEqual(links, []);
  assert.doesNotMatch(routes, /dev fl/);
  assert.doesNotMatch(guard, /elements/);
}

const prevResult = (result: CniResult): { config: { prevResult: CniResult } } => ({ config: { prevResult: result } });

test("ADD gives a working address of each family, CHECK agrees, DEL leaves nothing", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const result = await agent.add({ netns: pod.path });
  assert.deepEqual(
    result.ips.map(({ address }) => address),
    ["10.4.1.2/32", "fd00:10:4:1::2/128"],
  );
  assert.equal(result.interfaces[1]?.sandbox, pod.path);
  const [eth0] = JSON.parse(pod.run("ip", "-j", "link", "show", "eth0")) as { address: string; mtu: number }[];
  assert.deepEqual([eth0?.address, eth0?.mtu], [result.interfaces[1]?.mac, 1500]);
  assert.match(pod.run("ip", "link", "show", "lo"), /,UP/);
  // At once: no address is tentative, no neighbour has to be found.
  for (const target of ["172.30.0.11", "fd00:30::11"]) pod.run("ping", "-c1", "-W5", target);
  for (const target of ["10.4.1.2", "fd00:10:4:1::2"]) agent.node.run("ping", "-c1", "-W5", target);
  assert.doesNotMatch(pod.run("ip", "address"), /tentative/);

  assert.deepEqual(await agent.cni("CHECK", { netns: pod.path, ...prevResult(result) }), {
    exitCode: 0,
    stdout: "",
    stderr: "",
  });
  assert.deepEqual(await agent.cni("DEL", { netns: pod.path }), { exitCode: 0, stdout: "", stderr: "" });
  assert.doesNotMatch(pod.run("ip", "link"), /eth0/, "the name is free at once");
  await reaped(agent);
  assertNothingLeft(agent);
  assert.doesNotMatch(pod.run("ip", "link"), /flx/);
});

for (const [family, blocks, count] of [
  ["IPv4 alone", ["10.4.1.0/24"], 1],
  ["IPv6 alone", ["fd00:10:4:1::/64"], 1],
] as const) {
  test(`${family}: one address, no route of the other family`, async (t) => {
    const agent = await startTestAgent(t, { blocks });
    const pod = makeNetns(t);
    const { ips } = await agent.add({ netns: pod.path });
    assert.equal(ips.length, count);
    const other = family === "IPv4 alone" ? "-6" : "-4";
    assert.equal(pod.run("ip", other, "route", "show", "default"), "");
    pod.run("ping", "-c1", "-W5", family === "IPv4 alone" ? "172.30.0.11" : "fd00:30::11");
  });
}

test("a namespace that starts with IPv6 off gets it on", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  pod.run(
    "sh",
    "-c",
    "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6",
  );
  await agent.add({ netns: pod.path });
  pod.run("ping", "-c1", "-W5", "fd00:30::11");
});

test("a pod's link has the MTU that is configured, at both ends", async (t) => {
  const agent = await startTestAgent(t, { mtu: 1400 });
  const pod = makeNetns(t);
  const { interfaces } = await agent.add({ netns: pod.path });
  assert.deepEqual(
    interfaces.map(({ mtu }) => mtu),
    [1400, 1400],
  );
  assert.match(pod.run("ip", "link", "show", "eth0"), /mtu 1400/);
  assert.match(agent.node.run("ip", "link", "show", interfaces[0]?.name ?? ""), /mtu 1400/);
});

test("address, hardware address and dns that the runtime asks for are honoured", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const mac = "02:00:00:00:00:77";
  const runtimeConfig = { ips: ["10.4.1.9/24"], mac, dns: { servers: ["10.0.0.10"] } };
  const result = await agent.add({ netns: pod.path, config: { runtimeConfig } });
  assert.equal(result.ips[0]?.address, "10.4.1.9/32");
  assert.equal(result.interfaces[1]?.mac, mac);
  assert.match(pod.run("ip", "link", "show", "eth0"), new RegExp(mac));
  assert.deepEqual(result.dns, { nameservers: ["10.0.0.10"] });
  pod.run("ping", "-c1", "-W5", "172.30.0.11");
});

test("a second ADD of the same interface is refused and the first goes on working", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  const { exitCode, stdout } = await agent.cni("ADD", { netns: pod.path });
  assert.equal(exitCode, 1);
  assert.equal(asError(stdout).code, 100);
  pod.run("ping", "-c1", "-W5", "172.30.0.11");
});

test("the same container can be attached again at once after its DEL, however often", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  for (let round = 0; round < 20; round += 1) {
    await agent.add({ netns: pod.path });
    pod.run("ping", "-c1", "-W5", "172.30.0.11");
    assert.equal((await agent.cni("DEL", { netns: pod.path })).exitCode, 0);
  }
  await reaped(agent);
  assertNothingLeft(agent);
});

test("an interface that is not ours is left as it is", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  pod.run("ip", "link", "add", "eth0", "type", "bridge");
  const { exitCode, stdout } = await agent.cni("ADD", { netns: pod.path });
  assert.equal(exitCode, 1);
  assert.match(asError(stdout).msg, /eth0 exists .* not ours/);
  assert.match(pod.run("ip", "-d", "link", "show", "eth0"), /bridge/);
  assertNothingLeft(agent);
});

test("two interfaces of one container have addresses of their own; DEL of one leaves the other", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const first = await agent.add({ netns: pod.path });
  const second = await agent.add({ netns: pod.path, ifname: "eth1" });
  assert.notEqual(first.ips[0]?.address, second.ips[0]?.address);
  for (const ifname of ["eth0", "eth1"]) pod.run("ping", "-c1", "-W5", "-I", ifname, "172.30.0.11");
  const { exitCode, stdout } = await agent.cni("CHECK", { netns: pod.path, ifname: "eth1", ...prevResult(second) });
  assert.equal(exitCode, 0, stdout);
  assert.equal((await agent.cni("DEL", { netns: pod.path })).exitCode, 0);
  for (const target of ["172.30.0.11", "fd00:30::11"]) pod.run("ping", "-c1", "-W5", target);
});

test("the node's own namespace and paths that are none are refused, and nothing changes", async (t) => {
  const agent = await startTestAgent(t);
  const own = await agent.cni("ADD", { netns: agent.node.path });
  assert.equal(asError(own.stdout).code, 8);
  for (const path of ["/run/netns/fltest-none", "/etc/hostname", "/dev/null", "/tmp"]) {
    const { exitCode, stdout } = await agent.cni("ADD", { netns: path });
    assert.equal(exitCode, 1);
    assert.equal(asError(stdout).code, 101, path);
    assert.ok(asError(stdout).msg.includes(path));
  }
  assertNothingLeft(agent);
});

test("fifty ADDs at once: all succeed, all addresses differ; fifty DELs leave nothing", async (t) => {
  const agent = await startTestAgent(t);
  const pods = Array.from({ length: 50 }, (_, index) => ({ containerId: `c${index}`, netns: makeNetns(t).path }));
  const results = await Promise.all(pods.map((pod) => agent.add(pod)));
  assert.equal(new Set(results.flatMap(({ ips }) => ips.map(({ address }) => address))).size, 100);
  const gone = await Promise.all(pods.map((pod) => agent.cni("DEL", pod)));
  assert.deepEqual([...new Set(gone.map(({ exitCode }) => exitCode))], [0]);
  await reaped(agent);
  assertNothingLeft(agent);
});

test("DEL succeeds twice, for the unknown, and for a namespace that is gone", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  pod.remove();
  for (const containerId of ["c1", "c1", "never"]) {
    assert.deepEqual(await agent.cni("DEL", { containerId, netns: pod.path }), { exitCode: 0, stdout: "", stderr: "" });
  }
  assert.equal((await agent.cni("DEL", {})).exitCode, 0, "without CNI_NETNS");
  await reaped(agent);
  assertNothingLeft(agent);
});

test("a late DEL of an old sandbox leaves the namespace's new owner alone", async (t) => {
  const agent = await startTestAgent(t);
  const old = makeNetns(t);
  await agent.add({ containerId: "old", netns: old.path });
  old.remove();
  const next = makeNetns(t);
  symlinkSync(next.path, old.path); // the path now comes to mean another namespace
  t.after(() => rmSync(old.path));
  await agent.add({ containerId: "new", netns: old.path });
  assert.equal((await agent.cni("DEL", { containerId: "old", netns: old.path })).exitCode, 0);
  next.run("ping", "-c1", "-W5", "172.30.0.11");
});

interface Attached {
  pod: TestNetns;
  link: string;
  v4: string;
  v6: string;
}

test("CHECK names what differs in the pod; what differs on the node is repaired too fast to be seen", async (t) => {
  const agent = await startTestAgent(t);
  const damages: [damage: (attached: Attached) => unknown, words: (attached: Attached) => string][] = [
    [({ pod }) => pod.run("ip", "link", "delete", "eth0"), () => "interface eth0 is missing in the pod"],
    [({ pod }) => pod.run("ip", "link", "delete", "eth0"), ({ link }) => `host link ${link} is missing`],
    [({ pod }) => pod.run("ip", "link", "set", "eth0", "down"), () => "eth0 in the pod is down"],
    [({ pod }) => pod.run("ip", "link", "set", "eth0", "name", "eth9"), () => "interface eth0 is missing in the pod"],
    [
      ({ pod, v4 }) => pod.run("ip", "address", "delete", `${v4}/32`, "dev", "eth0"),
      ({ v4 }) => `address ${v4} is missing`,
    ],
    [
      ({ pod, v6 }) => pod.run("ip", "address", "delete", `${v6}/128`, "dev", "eth0"),
      ({ v6 }) => `address ${v6} is missing`,
    ],
    [
      ({ pod }) => pod.run("ip", "route", "delete", "default"),
      () => "route 0.0.0.0/0 via 169.254.1.1 is missing in the pod",
    ],
    [
      ({ pod }) => pod.run("ip", "-6", "route", "delete", "default"),
      () => "route ::/0 via fe80::1 is missing in the pod",
    ],
    [
      ({ pod, v4 }) => pod.run("ip", "route", "delete", "table", "local", "local", v4),
      ({ v4 }) => `the local route of ${v4} is missing in the pod`,
    ],
    [
      async ({ pod, v6 }) => {
        const local = ["table", "local", "exact", v6];
        const held = (): string[] => pod.run("ip", "-6", "route", "show", ...local).match(/^local/gm) ?? [];
        await until("the kernel's own stands beside the one that ADD made", () => held().length === 2);
        pod.run("ip", "-6", "route", "flush", ...local);
      },
      ({ v6 }) => `the local route of ${v6} is missing in the pod`,
    ],
    [
      ({ pod }) => pod.run("ip", "neighbour", "delete", "169.254.1.1", "dev", "eth0"),
      () => "permanent neighbour 169.254.1.1 is missing",
    ],
    [
      ({ pod }) => pod.run("ip", "link", "set", "eth0", "mtu", "9000"),
      () => "MTU of eth0 in the pod is 9000, not 1500",
    ],
  ];
  for (const [index, [damage, words]] of damages.entries()) {
    const pod = makeNetns(t);
    const containerId = `c${index}`;
    const result = await agent.add({ containerId, netns: pod.path });
    const [v4 = "", v6 = ""] = result.ips.map(({ address }) => address.replace(/\/.*/, ""));
    const attached = { pod, link: result.interfaces[0]?.name ?? "", v4, v6 };
    const call = { containerId, netns: pod.path, ...prevResult(result) };
    const before = await agent.cni("CHECK", call);
    assert.equal(before.exitCode, 0, before.stdout);
    await damage(attached);
    const { exitCode, stdout } = await agent.cni("CHECK", call);
    assert.equal(exitCode, 1, words(attached));
    assert.equal(asError(stdout).code, 106);
    assert.ok(asError(stdout).msg.includes(words(attached)), `${words(attached)} in: ${asError(stdout).msg}`);
    assert.equal((await agent.cni("DEL", call)).exitCode, 0);
  }
  await agent.stop();
  await agent.start(); // whose table was the last damage
});

test("CHECK fails without an attachment, and where prevResult claims another address", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const result = await agent.add({ netns: pod.path });
  const unknown = await agent.cni("CHECK", { containerId: "never", netns: pod.path, ...prevResult(result) });
  assert.match(asError(unknown.stdout).msg, /its address is not reserved/);
  const claimed = { ...result, ips: result.ips.map((ip) => ({ ...ip, address: ip.address.replace(/2\//, "9/") })) };
  const other = await agent.cni("CHECK", { netns: pod.path, ...prevResult(claimed) });
  assert.match(asError(other.stdout).msg, /prevResult does not list 10\.4\.1\.2/);
});

test("an agent that is down: ADD fails with 11, DEL is written down and applied when it is back", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  await agent.stop();
  pod.run("ping", "-c1", "-W5", "172.30.0.11"); // pods need no agent
  const refused = await agent.cni("ADD", { containerId: "c2", netns: pod.path });
  assert.equal(asError(refused.stdout).code, 11);
  assert.match(asError(refused.stdout).msg, /agent/);
  assert.deepEqual(await agent.cni("DEL", { netns: pod.path }), { exitCode: 0, stdout: "", stderr: "" });
  const releases = join(agent.config.paths.socket, "..", "releases");
  assert.equal(readdirSync(releases).length, 1);
  await agent.start();
  await until("the release is applied", () => readdirSync(releases).length === 0);
  await reaped(agent);
  assertNothingLeft(agent);
});

test("a restarted agent knows its pods, and does not give their addresses again", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  const result = await agent.add({ netns: pod.path });
  await agent.stop();
  assert.ok(!existsSync(agent.config.paths.socket), "the socket goes with the agent");
  await agent.start();
  assert.equal((await agent.cni("CHECK", { netns: pod.path, ...prevResult(result) })).exitCode, 0);
  const other = makeNetns(t);
  const second = await agent.add({ containerId: "c2", netns: other.path });
  assert.notEqual(second.ips[0]?.address, result.ips[0]?.address);
  assert.equal((await agent.cni("DEL", { netns: pod.path })).exitCode, 0);
});

test("a forged source address does not leave the pod", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  pod.run("ip", "address", "add", "10.4.1.77/32", "dev", "eth0");
  pod.run("ip", "-6", "address", "add", "fd00:10:4:1::77/128", "dev", "eth0", "nodad");
  assert.throws(() => pod.run("ping", "-c1", "-W1", "-I", "10.4.1.77", "172.30.0.11"));
  assert.throws(() => pod.run("ping", "-c1", "-W1", "-I", "fd00:10:4:1::77", "fd00:30::11"));
  pod.run("ping", "-c1", "-W5", "-I", "10.4.1.2", "172.30.0.11");
  agent.audit.expectDamage(/(?:10\.4\.1\.77\/32|fd00:10:4:1::77\/128)/, "the pod gave itself these addresses");
  assert.match(agent.node.run("nft", "list", "counter", "inet", "fairlead", "spoof"), /packets [1-9]/);
});

test("an exhausted pool says so, and nothing is half made", async (t) => {
  const agent = await startTestAgent(t, { blocks: ["10.4.1.0/30"] });
  const pods = [1, 2, 3].map((index) => ({ containerId: `c${index}`, netns: makeNetns(t).path }));
  await agent.add(pods[0] ?? {});
  await agent.add(pods[1] ?? {});
  const { stdout } = await agent.cni("ADD", pods[2]);
  assert.equal(asError(stdout).code, 11);
  assert.match(asError(stdout).msg, /no free IPv4 address on this node: 2 in use, 0 cooling \(10\.4\.1\.0\/30\)/);
  assert.equal(ours(agent).links.length, 2);
});

test("GC keeps what is listed and, without a list, everything", async (t) => {
  const agent = await startTestAgent(t);
  const kept = makeNetns(t);
  await Promise.all([
    agent.add({ containerId: "keep", netns: kept.path }),
    agent.add({ containerId: "drop", netns: makeNetns(t).path }),
  ]);
  assert.equal((await agent.cni("GC", {})).exitCode, 0);
  assert.equal(ours(agent).links.length, 2);
  const config = { "cni.dev/valid-attachments": [{ containerID: "keep", ifname: "eth0" }] };
  assert.deepEqual(await agent.cni("GC", { config }), { exitCode: 0, stdout: "", stderr: "" });
  await reaped(agent);
  assert.equal(ours(agent).links.length, 1);
  kept.run("ping", "-c1", "-W5", "172.30.0.11");
});
