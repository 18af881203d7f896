// Conformance 8: CHECK: it says nothing while all is as ADD left it, names what is not, and lets later plugins add what they like.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { hostEnd, podTraces, stateOf, v4Of, v6Of } from "./eyes.ts";
import { fileScope, type Pod, type Scope, startNode, type TestNode } from "./node.ts";
import { refused, type Result, silent } from "./runtime.ts";

const node = await startNode(fileScope);

interface Attached {
  pod: Pod;
  result: Result;
  /** CHECK as the runtime calls it, with the result that ADD gave or another. */
  check: (prevResult?: unknown) => ReturnType<typeof node.call>;
}

async function attached(t: Scope, on: TestNode = node): Promise<Attached> {
  const pod = on.pod(t);
  const result = await on.add(pod);
  const check: Attached["check"] = (prevResult = result) => on.call("CHECK", pod, { conf: { prevResult } });
  silent(await check());
  return { pod, result, check };
}

test("8.1 right after ADD it succeeds silently, and changes nothing", async (t) => {
  const own = await startNode(t);
  const { pod, check } = await attached(t, own);
  const before = [stateOf(own.ns), stateOf(pod.ns)];
  for (let times = 0; times < 3; times += 1) silent(await check());
  assert.deepEqual([stateOf(own.ns), stateOf(pod.ns)], before);
});

test("8.2 a deleted interface is named", async (t) => {
  const { pod, check } = await attached(t);
  pod.ns.run("ip", "link", "delete", "eth0");
  refused(await check(), "any", "eth0");
});

test("8.3 an interface that is down is named", async (t) => {
  const { pod, check } = await attached(t);
  pod.ns.run("ip", "link", "set", "eth0", "down");
  refused(await check(), "any", "eth0");
});

test("8.4 a renamed interface is named, another one of its name is not taken for it", async (t) => {
  const { pod, check } = await attached(t);
  pod.ns.run("ip", "link", "set", "eth0", "down");
  pod.ns.run("ip", "link", "set", "eth0", "name", "eth7");
  pod.ns.run("ip", "link", "set", "eth7", "up");
  refused(await check(), "any", "eth0");
  pod.ns.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other");
  for (const name of ["eth0", "other"]) pod.ns.run("ip", "link", "set", name, "up");
  refused(await check(), "any", "eth0");
});

test("8.5 an address that was removed is named, in either family", async (t) => {
  const first = await attached(t);
  first.pod.ns.run("ip", "address", "delete", `${v4Of(first.result)}/32`, "dev", "eth0");
  refused(await first.check(), "any", v4Of(first.result));
  const second = await attached(t);
  second.pod.ns.run("ip", "address", "delete", `${v6Of(second.result)}/128`, "dev", "eth0");
  refused(await second.check(), "any", v6Of(second.result));
});

test("8.6 an address that was replaced is named", async (t) => {
  const { pod, result, check } = await attached(t);
  pod.ns.run("ip", "address", "add", "10.4.1.250/32", "dev", "eth0");
  pod.ns.run("ip", "address", "delete", `${v4Of(result)}/32`, "dev", "eth0");
  refused(await check(), "any", v4Of(result));
});

test("8.7 a deleted default route is named, in either family", async (t) => {
  for (const [family, words] of [
    ["-4", "0.0.0.0/0"],
    ["-6", "::/0"],
  ] as const) {
    const { pod, check } = await attached(t);
    pod.ns.run("ip", family, "route", "delete", "default");
    refused(await check(), "any", words);
  }
});

test("8.8 a default route that leads elsewhere is no default route of ours", async (t) => {
  const { pod, check } = await attached(t);
  pod.ns.run("ip", "route", "replace", "default", "via", "169.254.1.1", "dev", "eth0", "onlink", "metric", "0");
  silent(await check());
  pod.ns.run("ip", "route", "delete", "default");
  pod.ns.run("ip", "route", "add", "default", "via", "169.254.1.99", "dev", "eth0", "onlink");
  refused(await check(), "any", "0.0.0.0/0");
});

test("8.9 a host link that was deleted is an error", async (t) => {
  const { result, check } = await attached(t);
  node.ns.run("ip", "link", "delete", hostEnd(result));
  refused(await check(), "any", /eth0|fl[0-9a-f]+/);
});

test("8.10 a host link that is down or was moved away is named", async (t) => {
  const down = await attached(t);
  node.ns.run("ip", "link", "set", hostEnd(down.result), "down");
  refused(await down.check(), "any", hostEnd(down.result));
  const moved = await attached(t);
  const elsewhere = node.pod(t);
  node.ns.run("ip", "link", "set", hostEnd(moved.result), "netns", elsewhere.ns.name);
  refused(await moved.check(), "any", hostEnd(moved.result));
});

test("8.11 a missing route to the pod on the node is named", async (t) => {
  const { result, check } = await attached(t);
  node.ns.run("ip", "route", "delete", `${v4Of(result)}/32`, "dev", hostEnd(result));
  refused(await check(), "any", v4Of(result));
});

/** A node whose agent does not put its filter table right while `frozen` says so: it could be faster than the test. */
async function unrepaired(t: Scope) {
  const state = { frozen: false };
  const other = await startNode(t, {
    wrap: (kernel) => {
      const { guard } = kernel;
      return {
        ...kernel,
        guard: { ...guard, ensure: (entries) => (state.frozen ? Promise.resolve(false) : guard.ensure(entries)) },
      };
    },
  });
  const pod = other.pod(t);
  const result = await other.add(pod);
  state.frozen = true;
  return { ns: other.ns, result, check: () => other.call("CHECK", pod, { conf: { prevResult: result } }) };
}

test("8.12 missing firewall entries are named", async (t) => {
  const { ns, result, check } = await unrepaired(t);
  assert.ok(podTraces(ns).includes(`${v4Of(result)} for ${hostEnd(result)}`));
  ns.run("nft", "delete", "element", "inet", "fairlead", "ok4", `{ "${hostEnd(result)}" . ${v4Of(result)} }`);
  refused(await check(), "any", v4Of(result));
});

test("8.13 a whole missing firewall table is an error", async (t) => {
  const { ns, check } = await unrepaired(t);
  ns.run("nft", "delete", "table", "inet", "fairlead");
  refused(await check(), "any", /guard/);
});

test("8.14 a missing reservation of the address is an error", async (t) => {
  const lost = await startNode(t);
  const pod = lost.pod(t);
  const prevResult = await lost.add(pod);
  await lost.agent.stop();
  rmSync(lost.agent.config.paths.state, { recursive: true });
  lost.ns.run("ip", "link", "set", hostEnd(prevResult), "alias", ""); // nothing tells the next agent whose link it is
  await lost.agent.start();
  refused(await lost.call("CHECK", pod, { conf: { prevResult } }), "any");
});

test("8.15 a missing prevResult is an error", async (t) => {
  const { pod } = await attached(t);
  refused(await node.call("CHECK", pod), "any", "prevResult");
});

test("8.16 a prevResult that cannot be read is an error", async (t) => {
  const { check } = await attached(t);
  for (const junk of ["text", 7, [], true, { ips: "no list" }, { ips: [{ address: "10.4.1.300" }] }])
    refused(await check(junk), "any", "prevResult");
});

test("8.17 a prevResult that lists other addresses than the attachment has is an error", async (t) => {
  const { result, check } = await attached(t);
  const other = {
    ...result,
    ips: result.ips.map((ip) => ({ ...ip, address: ip.address.replace(/[0-9a-f]+\//, "99/") })),
  };
  refused(await check(other), "any", v4Of(result));
  refused(await check({ ...result, ips: [] }), "any", v4Of(result));
});

test("8.18 an attachment that was never made is an error", async (t) => {
  const { pod, result } = await attached(t);
  const stranger = { ...node.pod(t), ns: pod.ns };
  refused(await node.call("CHECK", stranger, { conf: { prevResult: result } }), "any");
  refused(await node.call("CHECK", { ...pod, ifname: "net1" }, { conf: { prevResult: result } }), "any");
  refused(await node.call("CHECK", pod, { conf: { name: "other", prevResult: result } }), "any");
});

test("8.19 a namespace that is gone is an error", async (t) => {
  const { pod, check } = await attached(t);
  pod.ns.remove();
  refused(await check(), "any", pod.ns.path);
});

test("8.20 everything that is wrong stands in one message", async (t) => {
  const { pod, result, check } = await attached(t);
  pod.ns.run("ip", "route", "delete", "default");
  pod.ns.run("ip", "address", "delete", `${v6Of(result)}/128`, "dev", "eth0");
  node.ns.run("ip", "link", "set", hostEnd(result), "mtu", "1400");
  refused(await check(), "any", "0.0.0.0/0", v6Of(result), hostEnd(result));
});

test("8.21 what later plugins added to the result and to the pod is tolerated", async (t) => {
  const { pod, result, check } = await attached(t);
  pod.ns.run("ip", "address", "add", "192.0.2.7/24", "dev", "eth0");
  pod.ns.run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.1", "dev", "eth0");
  pod.ns.run("ip", "link", "set", "eth0", "promisc", "on", "txqueuelen", "77");
  pod.ns.run("ip", "link", "add", "extra0", "type", "veth", "peer", "name", "extra1");
  silent(await check());
  const grown = {
    ...result,
    interfaces: [...result.interfaces, { name: "extra0", mac: "02:00:00:00:00:01", sandbox: pod.ns.path }],
    ips: [...result.ips, { address: "192.0.2.7/24", interface: result.interfaces.length }],
    routes: [...result.routes, { dst: "198.51.100.0/24", gw: "192.0.2.1" }],
    dns: { nameservers: ["192.0.2.53"] },
    "example.org/note": { added: true },
  };
  silent(await check(grown));
});

test("8.22 an MTU that a later plugin lowered is tolerated, whether the result tells of it or not", async (t) => {
  const { pod, result, check } = await attached(t);
  pod.ns.run("ip", "link", "set", "eth0", "mtu", "1400");
  const tuned = result.interfaces.map((entry) => (entry.name === "eth0" ? { ...entry, mtu: 1400 } : entry));
  silent(await check({ ...result, interfaces: tuned }));
  silent(await check()); // tuning lowers it without a word
});

test("8.23 an MTU above the one that ADD gave is an error", async (t) => {
  const { pod, check } = await attached(t);
  pod.ns.run("ip", "link", "set", "eth0", "mtu", "9000");
  refused(await check(), "any", "eth0", "9000");
});

test("8.24 a hardware address that nobody told of is an error", async (t) => {
  const { pod, check } = await attached(t);
  pod.ns.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99");
  refused(await check(), "any", "eth0", "02:00:00:00:00:99");
});

test("8.25 after DEL it is an error", async (t) => {
  const { pod, check } = await attached(t);
  silent(await node.call("DEL", pod));
  refused(await check(), "any");
});

test("8.26 after the agent was restarted it succeeds silently", async (t) => {
  const other = await startNode(t);
  const pod = other.pod(t);
  const prevResult = await other.add(pod);
  await other.agent.stop();
  await other.agent.start();
  silent(await other.call("CHECK", pod, { conf: { prevResult } }));
});
