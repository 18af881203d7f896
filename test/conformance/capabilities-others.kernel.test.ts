// Conformance 12, second part: other wishes of a runtime: given, refused with key and value, or left to other plugins on purpose.

import assert from "node:assert/strict";
import { test } from "node:test";
import { bare, linksIn, reachable, stateOf } from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { refused, silent } from "./runtime.ts";
import { asking, refusedAsking } from "./wishes.ts";

const node = await startNode(fileScope);

test("12.16 dns: servers, searches and options stand in the result", async (t) => {
  const dns = {
    servers: ["192.0.2.53", "2001:db8::53"],
    searches: ["a.example.org", "example.org"],
    options: ["ndots:5"],
  };
  const result = await node.add(node.pod(t), asking({ dns }));
  assert.deepEqual(result.dns, { nameservers: dns.servers, search: dns.searches, options: dns.options });
});

test("12.17 empty wishes are none", async (t) => {
  const wishes = {
    ips: [],
    mac: "",
    ipRanges: [],
    dns: {},
    deviceID: "",
    aliases: [],
    portMappings: [],
    cgroupPath: "",
  };
  const result = await node.add(node.pod(t), asking(wishes));
  assert.equal(result.ips.length, 2);
  assert.ok(!("dns" in result));
});

test("12.18 aliases, cgroupPath, infinibandGUID and annotations are ignored on purpose", async (t) => {
  const pod = node.pod(t);
  const wishes = {
    aliases: ["web", "web.example.org"],
    cgroupPath: "/kubepods.slice/kubepods-pod7f2c.slice",
    infinibandGUID: "c2:11:22:33:44:55:66:77",
    "io.kubernetes.cri.pod-annotations": { "kubernetes.io/config.seen": "2025-01-01T00:00:00Z" },
  };
  const prevResult = await node.add(pod, asking(wishes));
  silent(await node.call("CHECK", pod, asking(wishes, { conf: { prevResult } })));
  silent(await node.call("DEL", pod, asking(wishes)));
});

test("12.19 deviceID is refused with key and value: a device cannot become a virtual link", async (t) => {
  await refusedAsking(node, node.pod(t), { deviceID: "0000:00:1f.6" }, 2, "deviceID", "0000:00:1f.6");
});

test("12.20 portMappings of any shape are left to a plugin after us: nothing on the node differs", async (t) => {
  const plain = await startNode(t);
  const shapes = [
    [
      { hostPort: 8080, containerPort: 80, protocol: "tcp" },
      { hostPort: 8080, containerPort: 80, protocol: "udp" },
    ],
    [
      { hostPort: 8081, containerPort: 80, protocol: "tcp", hostIP: "172.30.0.11" },
      { hostPort: 8081, containerPort: 80, protocol: "tcp", hostIP: "127.0.0.1" },
    ],
    [{ hostPort: 8082, containerPort: 80, protocol: "tcp", hostIP: "fd00:30::11" }],
    [{ hostPort: 0, containerPort: 80, protocol: "tcp" }],
    [{ hostPort: 70_000, containerPort: 80, protocol: "tcp" }],
    [
      { hostPort: 8083, containerPort: 80, protocol: "tcp" },
      { hostPort: 8083, containerPort: 80, protocol: "tcp" },
    ],
  ];
  const pod = plain.pod(t);
  await plain.add(pod);
  // The same pod has another link and another address each time.
  const shapeOf = () =>
    stateOf(plain.ns).map((line) => line.replaceAll(/10\.4\.1\.\d+|fd00:10:4:1::\w+|link \d+/g, "x"));
  const before = shapeOf();
  silent(await plain.call("DEL", pod));
  for (const portMappings of shapes) {
    await bare(plain);
    await plain.add(pod, asking({ portMappings }));
    assert.deepEqual(shapeOf(), before, JSON.stringify(portMappings));
    silent(await plain.call("DEL", pod, asking({ portMappings })));
  }
});

test("12.21 bandwidth of any shape is left to a plugin after us: no shaping on either end", async (t) => {
  const shapes = [
    { ingressRate: 1_000_000, ingressBurst: 100_000, egressRate: 1_000_000, egressBurst: 100_000 },
    { ingressRate: 1_000_000 },
    { ingressRate: 0, ingressBurst: 0 },
    { ingressRate: 1, ingressBurst: 2 ** 36 },
  ];
  for (const bandwidth of shapes) {
    const pod = node.pod(t);
    await node.add(pod, asking({ bandwidth }));
    for (const ns of [node.ns, pod.ns]) assert.doesNotMatch(ns.run("tc", "qdisc", "show"), /tbf|htb|ingress|clsact/);
    assert.ok(!linksIn(node.ns).some(({ ifname }) => ifname.startsWith("ifb")));
    silent(await node.call("DEL", pod, asking({ bandwidth })));
  }
});

test("12.22 a whole call as containerd makes it", async (t) => {
  const pod = node.pod(t);
  const change = {
    env: {
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=${pod.id};K8S_POD_UID=7f2c0a7e-1d2b-4a5e-9f21-0d3c6a4b5e77`,
    },
    conf: {
      capabilities: {
        portMappings: true,
        bandwidth: true,
        dns: true,
        cgroupPath: true,
        "io.kubernetes.cri.pod-annotations": true,
      },
      runtimeConfig: {
        portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "" }],
        bandwidth: { ingressRate: 0, ingressBurst: 0, egressRate: 0, egressBurst: 0 },
        dns: { servers: ["10.96.0.10"], searches: ["default.svc.cluster.local"], options: ["ndots:5"] },
        cgroupPath: "/kubepods/besteffort/pod7f2c",
        "io.kubernetes.cri.pod-annotations": { "example.org/a": "b" },
      },
    },
  };
  const result = await node.add(pod, change);
  assert.deepEqual(result.dns?.nameservers, ["10.96.0.10"]);
  reachable(node, pod.ns, result);
  silent(await node.call("DEL", pod, { ...change, conf: { ...change.conf, prevResult: result } }));
});

test("12.23 CHECK and DEL take the same wishes as ADD did", async (t) => {
  const pod = node.pod(t);
  const wishes = { ips: ["10.4.1.209"], dns: { servers: ["192.0.2.53"] }, mac: "02:11:22:33:44:66" };
  const prevResult = await node.add(pod, asking(wishes));
  silent(await node.call("CHECK", pod, asking(wishes, { conf: { prevResult } })));
  for (let times = 0; times < 2; times += 1)
    silent(await node.call("DEL", pod, asking(wishes, { conf: { prevResult } })));
});

test("12.24 two pods that ask for one address at once: one gets it", async (t) => {
  const pods = Array.from({ length: 5 }, () => node.pod(t));
  const outcomes = await node.each("ADD", pods, asking({ ips: ["10.4.1.210"] }));
  assert.equal(outcomes.filter(({ exitCode }) => exitCode === 0).length, 1);
  for (const outcome of outcomes) if (outcome.exitCode !== 0) refused(outcome, 11, "10.4.1.210");
});
