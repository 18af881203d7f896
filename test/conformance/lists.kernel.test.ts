// Conformance 11, first part: configuration lists: our place in a chain, and what is passed on.

import assert from "node:assert/strict";
import { dirname } from "node:path";
import { test } from "node:test";
import { createChain, rewritten } from "./chain.ts";
import { bare, hasLink, reachable } from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { refused, type Result, silent } from "./runtime.ts";
import { passOn, scriptPlugin } from "./scripted.ts";

const node = await startNode(fileScope);
const ours = { type: "fairlead-cni" };
const bin = dirname(node.plugin);
const list = (plugins: ({ type: string } & Record<string, unknown>)[], cniVersion = "1.1.0") => ({
  cniVersion,
  name: "fairlead",
  plugins,
});

/** What a plugin before us gave: with fields of 1.1.0, and some that nobody knows. */
const before = {
  cniVersion: "1.1.0",
  interfaces: [
    {
      name: "tun0",
      mac: "02:00:00:00:aa:01",
      mtu: 9000,
      socketPath: "/run/x.sock",
      pciID: "0000:00:1f.6",
      sandbox: "",
    },
    { name: "first0", mac: "02:00:00:00:aa:02", sandbox: "/run/netns/x" },
  ],
  ips: [{ address: "192.0.2.9/24", gateway: "192.0.2.1", interface: 1 }],
  routes: [{ dst: "198.51.100.0/24", gw: "192.0.2.1", mtu: 1400, advmss: 1360, priority: 7, table: 100, scope: 253 }],
  dns: { nameservers: ["192.0.2.53"], domain: "example.org", search: ["a.example.org"], options: ["ndots:3"] },
  "example.org/note": { kept: [1, 2] },
};

test("11.1 the plugin after us gets our result, and the final one is accepted by CHECK and DEL of the chain", async (t) => {
  const later = scriptPlugin(t, "later");
  later.answers("ADD", passOn('.routes += [{"dst":"203.0.113.0/24"}] | .dns = {"nameservers":["192.0.2.53"]}'));
  const chain = createChain(node, list([ours, { type: "later" }]), [bin, later.directory]);
  const pod = node.pod(t);
  const result = await chain.add(pod);
  const given = later.calls("ADD")[0]?.stdin["prevResult"] as Result;
  assert.deepEqual(result.ips, given.ips);
  reachable(node, pod.ns, given);
  for (const outcome of await chain.check(pod, result)) assert.equal(outcome.exitCode, 0, outcome.stdout);
  await chain.del(pod, result);
  assert.ok(!hasLink(pod.ns, "eth0"));
  assert.deepEqual(later.calls("DEL")[0]?.stdin["prevResult"], rewritten(result), "every plugin gets the final result");
});

test("11.2 what a plugin before us gave is passed on as it is, ours after it", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod, { conf: { prevResult: before } });
  const { interfaces, ips, routes, ...others } = before;
  assert.deepEqual(result.interfaces.slice(0, 2), interfaces);
  assert.deepEqual(result.ips.slice(0, 1), ips);
  assert.deepEqual(result.routes.slice(0, 1), routes);
  for (const [key, value] of Object.entries(others)) assert.deepEqual(result[key as keyof Result], value, key);
  const own = result.ips.slice(1);
  assert.equal(own.length, 2);
  for (const ip of own) {
    const on = result.interfaces[ip.interface ?? -1];
    assert.deepEqual([on?.name, on?.sandbox], ["eth0", pod.ns.path], "its interface is ours");
  }
  reachable(node, pod.ns, { ips: own });
});

test("11.3 the same in older shapes", async (t) => {
  for (const cniVersion of ["0.3.1", "0.4.0", "1.0.0"]) {
    const prevResult = {
      cniVersion,
      interfaces: [{ name: "first0", sandbox: "/run/netns/x" }],
      ips: [{ ...(cniVersion === "1.0.0" ? {} : { version: "4" }), address: "192.0.2.9/24", interface: 0 }],
      dns: { nameservers: ["192.0.2.53"] },
    };
    const result = await node.add(node.pod(t), { conf: { cniVersion, prevResult } });
    assert.equal(result.cniVersion, cniVersion);
    assert.deepEqual(result.interfaces.slice(0, 1), prevResult.interfaces);
    assert.deepEqual(result.ips.slice(0, 1), prevResult.ips);
    assert.deepEqual(result.dns, prevResult.dns);
    assert.equal(result.interfaces.length, 3);
    for (const { interface: on } of result.ips.slice(1)) assert.equal(result.interfaces[on ?? -1]?.name, "eth0");
  }
});

test("11.4 a chain with a plugin before us and one after us does every verb", async (t) => {
  const [first, last] = [scriptPlugin(t, "first"), scriptPlugin(t, "last")];
  first.answers("ADD", '{cniVersion, interfaces: [{"name": "first0"}], ips: [{"address": "192.0.2.9/24"}]}');
  last.answers("ADD", passOn());
  const directories = [first.directory, bin, last.directory];
  const chain = createChain(node, list([{ type: "first" }, ours, { type: "last" }]), directories);
  const pod = node.pod(t);
  const result = await chain.add(pod);
  assert.equal(result.ips.length, 3);
  for (const outcome of await chain.check(pod, result)) assert.equal(outcome.exitCode, 0, outcome.stdout);
  for (const outcome of await chain.all("STATUS")) assert.equal(outcome.exitCode, 0, outcome.stdout);
  const keep = { "cni.dev/valid-attachments": [{ containerID: pod.id, ifname: pod.ifname }] };
  for (const outcome of await chain.all("GC", keep)) assert.equal(outcome.exitCode, 0, outcome.stdout);
  assert.ok(hasLink(pod.ns, "eth0"));
  await chain.del(pod, result);
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("11.5 where a later plugin refuses ADD, DEL of the chain leaves nothing", async (t) => {
  const fresh = await startNode(t);
  const later = scriptPlugin(t, "later");
  later.fails("ADD", 111, "planned");
  const chain = createChain(fresh, list([ours, { type: "later" }]), [dirname(fresh.plugin), later.directory]);
  const pod = fresh.pod(t);
  refused(await chain.addFails(pod), 111);
  await chain.del(pod); // the runtime has no result to hand over
  await bare(fresh);
  reachable(fresh, pod.ns, await fresh.add(pod));
});

test("11.6 of capabilities that are declared, what the runtime has is taken; of others nothing is known", async (t) => {
  const chain = createChain(node, list([{ ...ours, capabilities: { portMappings: true, bandwidth: false } }]), [bin]);
  const pod = node.pod(t);
  const capabilities = {
    portMappings: [{ hostPort: 80, containerPort: 80, protocol: "tcp" }],
    bandwidth: { ingressRate: 1 },
  };
  const result = await chain.add(pod, capabilities);
  for (const outcome of await chain.check(pod, result, capabilities)) silent(outcome);
  await chain.del(pod, result, capabilities);
});
