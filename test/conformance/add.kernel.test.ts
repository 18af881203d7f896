// Conformance 5: ADD: what it makes is usable when it returns, what it refuses leaves no trace, and many at once do not disturb each other.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { symlinkSync, rmSync } from "node:fs";
import { test } from "node:test";
import { until } from "../until.ts";
import {
  addressesOf,
  bare,
  globalAddressesIn,
  hasLink,
  hostEnd,
  linkIn,
  linksIn,
  podTraces,
  reachable,
  routesIn,
  stateOf,
  v4Of,
} from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { refused, resultOf, silent } from "./runtime.ts";
import { callerIn, listenIn } from "./tcp.ts";

const node = await startNode(fileScope);

test("5.1 addresses carry TCP both ways at the moment ADD returns", async (t) => {
  const pod = node.pod(t);
  await listenIn(t, pod.ns, 8080);
  await listenIn(t, node.ns, 8081);
  const fromNode = await callerIn(t, node.ns);
  const fromPod = await callerIn(t, pod.ns);
  const result = await node.add(pod);
  for (const address of addressesOf(result)) {
    const own = address.includes(":") ? "fd00:30::11" : "172.30.0.11";
    assert.equal(await fromPod(own, 8081), address, "the node sees the pod's own address");
    assert.equal(await fromNode(address, 8080), own, "the pod sees the node's own address");
  }
});

test("5.2 lo is up in the pod and carries both families", async (t) => {
  const pod = node.pod(t);
  await node.add(pod);
  assert.ok(linkIn(pod.ns, "lo").flags.includes("UP"));
  for (const address of ["127.0.0.1", "::1"]) pod.ns.run("ping", "-c1", "-W5", address);
});

test("5.3 an interface of that name that exists is an error, and stays as it is", async (t) => {
  const own = await startNode(t);
  const pod = own.pod(t);
  pod.ns.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other");
  pod.ns.run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0");
  pod.ns.run("ip", "link", "set", "eth0", "up");
  const foreign = () => [linkIn(pod.ns, "eth0"), globalAddressesIn(pod.ns, "eth0"), routesIn(pod.ns, 4)];
  const before = [foreign(), podTraces(own.ns)];
  refused(await own.call("ADD", pod), "any", "eth0");
  assert.deepEqual([foreign(), podTraces(own.ns)], before);
});

test("5.4 after that error the runtime's DEL succeeds and leaves the foreign interface alone", async (t) => {
  const pod = node.pod(t);
  pod.ns.run("ip", "link", "add", "eth0", "type", "bridge");
  const before = linkIn(pod.ns, "eth0");
  refused(await node.call("ADD", pod), "any", "eth0");
  for (let times = 0; times < 2; times += 1) silent(await node.call("DEL", pod));
  assert.deepEqual(linkIn(pod.ns, "eth0"), before);
});

test("5.5 a second ADD of the same attachment is an error, and the first goes on working", async (t) => {
  const pod = node.pod(t);
  const prevResult = await node.add(pod);
  const before = [stateOf(pod.ns), podTraces(node.ns).filter((trace) => trace.includes(hostEnd(prevResult)))];
  refused(await node.call("ADD", pod), "any", "eth0");
  const traces = podTraces(node.ns).filter((trace) => trace.includes(hostEnd(prevResult)));
  assert.deepEqual([stateOf(pod.ns), traces], before);
  reachable(node, pod.ns, prevResult);
  silent(await node.call("CHECK", pod, { conf: { prevResult } }));
});

test("5.6 a second interface of the same container has addresses of its own, and CHECK agrees with both", async (t) => {
  const pod = node.pod(t);
  const first = await node.add(pod);
  const second = await node.add({ ...pod, ifname: "net1" });
  assert.equal(new Set([...addressesOf(first), ...addressesOf(second)]).size, 4);
  for (const [ifname, result] of [
    ["eth0", first],
    ["net1", second],
  ] as const) {
    assert.deepEqual(globalAddressesIn(pod.ns, ifname).sort(), result.ips.map(({ address }) => address).sort());
    silent(await node.call("CHECK", { ...pod, ifname }, { conf: { prevResult: result } }));
  }
  reachable(node, pod.ns, first);
});

test("5.7 fifty ADDs at once all succeed, with addresses of their own", async (t) => {
  const busy = await startNode(t);
  const pods = Array.from({ length: 50 }, () => busy.pod(t));
  const results = (await busy.each("ADD", pods)).map(resultOf);
  assert.equal(new Set(results.flatMap(addressesOf)).size, 100);
  assert.equal(new Set(results.map(hostEnd)).size, 50);
  for (const [index, pod] of pods.entries()) {
    const result = results[index];
    assert.deepEqual(globalAddressesIn(pod.ns, "eth0").sort(), result?.ips.map(({ address }) => address).sort());
  }
});

test("5.8 a namespace path that leads nowhere is an error that names it, and leaves no state", async (t) => {
  const fresh = await startNode(t);
  const before = stateOf(fresh.ns);
  const pod = fresh.pod(t);
  for (const CNI_NETNS of ["/run/netns/fltest-nowhere", "/proc/1/ns/nothing", "/run"]) {
    refused(await fresh.call("ADD", pod, { env: { CNI_NETNS } }), "any", CNI_NETNS);
    silent(await fresh.call("DEL", pod, { env: { CNI_NETNS } }));
  }
  assert.deepEqual(stateOf(fresh.ns), before);
});

test("5.9 a path to something else than a network namespace is an error that names it", async (t) => {
  const pod = node.pod(t);
  for (const CNI_NETNS of ["/etc/hostname", "/dev/null", "/proc/self/ns/uts", "/dev/zero"])
    refused(await node.call("ADD", pod, { env: { CNI_NETNS } }), "any", CNI_NETNS);
});

test("5.10 a namespace may be named by a process in it, or by a symbolic link", async (t) => {
  const pod = node.pod(t);
  const child = spawn("ip", ["netns", "exec", pod.ns.name, "sleep", "1000"]);
  const ended = once(child, "close");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const path = `/proc/${child.pid}/ns/net`;
  const inside = pod.ns.run("readlink", "/proc/self/ns/net");
  await until("the process is inside", () => node.ns.run("readlink", path) === inside);
  await node.add(pod, { env: { CNI_NETNS: path } });
  assert.ok(hasLink(pod.ns, "eth0"));
  const other = node.pod(t);
  const link = `${other.ns.path} with a space`;
  symlinkSync(other.ns.path, link);
  t.after(() => rmSync(link));
  await node.add(other, { env: { CNI_NETNS: link } });
  assert.ok(hasLink(other.ns, "eth0"));
});

test("5.11 exhausted addresses are said clearly, and nothing is half made", async (t) => {
  const small = await startNode(t, { blocks: ["10.4.1.0/30"] });
  const pods = [small.pod(t), small.pod(t), small.pod(t)] as const;
  const results = (await small.each("ADD", pods.slice(0, 2))).map(resultOf);
  const before = [stateOf(small.ns), stateOf(pods[2].ns)];
  const { code } = refused(await small.call("ADD", pods[2]), "any", "10.4.1.0/30", /no free/);
  assert.ok(code === 11 || code >= 100, `code ${code}`);
  assert.deepEqual([stateOf(small.ns), stateOf(pods[2].ns)], before);
  for (const [index, result] of results.entries()) reachable(small, (pods[index] ?? pods[2]).ns, result);
  silent(await small.call("DEL", pods[2]));
});

test("5.12 one family exhausted is no half attachment of the other", async (t) => {
  const small = await startNode(t, { blocks: ["10.4.1.0/30", "fd00:10:4:1::/64"] });
  const pods = [small.pod(t), small.pod(t), small.pod(t)] as const;
  for (const pod of pods.slice(0, 2)) await small.add(pod);
  const before = stateOf(small.ns);
  refused(await small.call("ADD", pods[2]), "any", "IPv4");
  assert.deepEqual(stateOf(small.ns), before);
  assert.deepEqual(
    linksIn(pods[2].ns).map(({ ifname }) => ifname),
    ["lo"],
  );
});

test("5.13 the same attachment can be made again right after its DEL", async (t) => {
  const pod = node.pod(t);
  for (let times = 0; times < 5; times += 1) {
    const prevResult = await node.add(pod);
    reachable(node, pod.ns, prevResult);
    silent(await node.call("DEL", pod, { conf: { prevResult } }));
  }
});

test("5.14 a released address is not the next one given", async (t) => {
  const pod = node.pod(t);
  const first = await node.add(pod);
  silent(await node.call("DEL", pod));
  for (let times = 0; times < 3; times += 1) {
    const other = await node.add(node.pod(t));
    assert.ok(!addressesOf(other).some((address) => addressesOf(first).includes(address)));
  }
});

test("5.15 other interfaces, addresses and routes of the pod stay as they are", async (t) => {
  const pod = node.pod(t);
  pod.ns.run("ip", "link", "add", "other0", "type", "veth", "peer", "name", "other1");
  pod.ns.run("ip", "link", "set", "other1", "up");
  pod.ns.run("ip", "link", "set", "other0", "up");
  pod.ns.run("ip", "address", "add", "192.0.2.1/24", "dev", "other0");
  pod.ns.run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.9");
  const foreign = () => [
    globalAddressesIn(pod.ns, "other0"),
    routesIn(pod.ns, 4).filter(({ dev }) => dev === "other0"),
  ];
  const before = foreign();
  const result = await node.add(pod);
  assert.deepEqual(foreign(), before);
  reachable(node, pod.ns, result);
  silent(await node.call("DEL", pod));
  assert.deepEqual(foreign(), before);
});

test("5.16 an interface of that name in another network is an error too", async (t) => {
  const pod = node.pod(t);
  const first = await node.add(pod, { conf: { name: "red" } });
  refused(await node.call("ADD", pod, { conf: { name: "blue" } }), "any", "eth0");
  silent(await node.call("DEL", pod, { conf: { name: "blue" } }));
  reachable(node, pod.ns, first);
});

test("5.17 a container may be attached again in a new namespace after the old one died without DEL", async (t) => {
  const pod = node.pod(t);
  await node.add(pod);
  pod.ns.remove();
  const next = { ...pod, ns: node.pod(t).ns };
  reachable(node, next.ns, await node.add(next));
});

test("5.18 a namespace where IPv6 is off gets it on", async (t) => {
  const pod = node.pod(t);
  for (const scope of ["all", "default"])
    pod.ns.run("sh", "-c", `echo 1 >/proc/sys/net/ipv6/conf/${scope}/disable_ipv6`);
  reachable(node, pod.ns, await node.add(pod));
});

test("5.19 ADD and DEL of many pods leave the node as it was", async (t) => {
  const fresh = await startNode(t);
  const before = stateOf(fresh.ns);
  const pods = Array.from({ length: 10 }, () => fresh.pod(t));
  for (const outcome of await fresh.each("ADD", pods)) resultOf(outcome);
  assert.notDeepEqual(stateOf(fresh.ns), before);
  for (const outcome of await fresh.each("DEL", pods)) silent(outcome);
  await bare(fresh);
  assert.deepEqual(stateOf(fresh.ns), before);
});

test("5.20 the addresses of a second interface carry traffic both ways, as those of the first do", async (t) => {
  const pod = node.pod(t);
  const first = await node.add(pod);
  const second = await node.add({ ...pod, ifname: "net1" });
  for (const result of [first, second]) reachable(node, pod.ns, result);
});

test("5.21 the very first packet after ADD gets through, in either direction, sixty times over", async (t) => {
  const own = await startNode(t, { blocks: ["10.4.1.0/24"] }); // one family leaves the least time
  await listenIn(t, own.ns, 8081);
  const slowMs: number[] = [];
  const attachOften = async (): Promise<void> => {
    const pod = own.pod(t);
    await listenIn(t, pod.ns, 8080);
    const fromPod = await callerIn(t, pod.ns);
    const fromNode = await callerIn(t, own.ns);
    for (let round = 0; round < 15; round += 1) {
      const result = await own.add(pod);
      const startedMs = performance.now();
      const callers = await Promise.all([fromNode(v4Of(result), 8080), fromPod("172.30.0.11", 8081)]);
      slowMs.push(performance.now() - startedMs);
      assert.deepEqual(callers, ["172.30.0.11", v4Of(result)]);
      silent(await own.call("DEL", pod));
    }
  };
  await Promise.all([1, 2, 3, 4].map(attachOften));
  // A lost SYN, or a lost answer to it, is sent again after a second.
  const lost = slowMs.filter((tookMs) => tookMs > 700).map(Math.round);
  assert.deepEqual(lost, [], "connections that took so many ms");
});
