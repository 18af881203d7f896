// The agent's keys of policy with real packets: what each opens or closes on a node, and that nothing else changes.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { uplink } from "../../../test/agent.ts";
import type { ClusterAgent } from "../../../test/cluster-agent.ts";
import { makeNetns } from "../../../test/netns.ts";
import { addPod, inPod, servingAgent, type TestPod } from "../../../test/policy-node.ts";
import { until } from "../../../test/until.ts";
import type { Kube } from "../../kube/contract.ts";
import { securityGroupBindings, securityGroups } from "../../kube/policy-objects.ts";

/** Answers by both protocols on a port, of both families. */
const server = (port: number): string => `
  require("node:net").createServer((one) => one.on("error", () => {}).end("x")).listen(${port}, "::", () => {
    const udp = require("node:dgram").createSocket({ type: "udp6", ipv6Only: false });
    udp.on("message", (message, from) => udp.send(message, from.port, from.address));
    udp.bind(${port}, () => console.log("ready"));
  });`;
/** Longest wait for an answer: one that comes does so within a few milliseconds. */
const answeredWithinMs = 1_000;
/** Ends with 0 where it is answered in time: the program's own start does not count. */
const client = (protocol: "tcp" | "udp", address: string, port: number): string => `
  const signal = AbortSignal.timeout(${answeredWithinMs});
  if ("${protocol}" === "tcp") {
    const socket = require("node:net").connect({ port: ${port}, host: "${address}", signal }, () => process.exit(0));
    socket.on("error", () => process.exit(1));
  } else {
    const socket = require("node:dgram").createSocket({ type: "${address.includes(":") ? "udp6" : "udp4"}", signal });
    socket.on("error", () => process.exit(1));
    socket.on("close", () => process.exit(1));
    socket.on("message", () => process.exit(0));
    socket.send("x", ${port}, "${address}");
  }`;

async function serve(t: TestContext, pod: TestPod, port: number): Promise<void> {
  await once(inPod(t, pod, server(port)).stdout, "data");
}

async function answered(t: TestContext, from: TestPod, to: TestPod, port: number): Promise<string[]> {
  const told: string[] = [];
  for (const protocol of ["tcp", "udp"] as const) {
    for (const address of to.addresses) {
      const asking = inPod(t, from, client(protocol, address, port));
      const [code] = (await once(asking, "exit")) as [number | null];
      if (code === 0) told.push(`${protocol} over IPv${address.includes(":") ? 6 : 4}`);
    }
  }
  return told;
}
const all = ["tcp over IPv4", "tcp over IPv6", "udp over IPv4", "udp over IPv6"];

/** A group that lets its members, those of `app`, send nothing. */
async function shut(kube: Kube, app: string): Promise<void> {
  const group = securityGroups.parse({ metadata: { name: "shut" }, spec: { bindableFrom: {}, egress: [] } });
  await kube.create(securityGroups, group);
  await kube.create(securityGroupBindings, {
    metadata: { namespace: "default", name: "shut" },
    spec: { podSelector: { matchLabels: { app } }, groups: ["shut"] },
  });
}

void test("policy.allowDns: a pod whose groups let it send nothing asks the resolvers for names, and reaches nothing else", async (t) => {
  const agent = await servingAgent(t, { policy: { allowDns: { namespace: "default" } } });
  const resolver = await addPod(t, agent, "resolver", { "k8s-app": "kube-dns" });
  const other = await addPod(t, agent, "other", { app: "other" });
  const web = await addPod(t, agent, "web", { app: "web" });
  for (const port of [53, 80]) await serve(t, resolver, port);
  await serve(t, other, 53);
  assert.deepEqual(await answered(t, web, resolver, 80), all);
  await shut(agent.kube, "web");
  await until("the group judges", async () => (await answered(t, web, resolver, 80)).length === 0);
  assert.deepEqual(await answered(t, web, resolver, 53), all);
  assert.deepEqual(await answered(t, web, other, 53), []);
});

/** A machine at the other end of the node's uplink that has the metadata addresses. */
function makeCloud(t: TestContext, { node }: ClusterAgent): TestPod {
  const netns = makeNetns(t);
  const addresses = ["169.254.169.254", "fd00:ec2::254"];
  node.run("ip", "link", "set", "wire", "netns", netns.name);
  netns.run("ip", "link", "set", "lo", "up");
  netns.run("ip", "link", "set", "wire", "up");
  for (const address of addresses) {
    netns.run("ip", "address", "add", address, "dev", "wire", ...(address.includes(":") ? ["nodad"] : []));
    node.run("ip", "route", "add", address, "dev", uplink.name);
  }
  for (const [family, block] of [
    [4, "10.4.1.0/24"],
    [6, "fd00:10:4:1::/64"],
  ] as const) {
    netns.run("ip", "route", "add", uplink.addresses[family], "dev", "wire");
    netns.run("ip", "route", "add", block, "via", uplink.addresses[family], "dev", "wire");
  }
  return { name: "cloud", uid: "", netns, addresses };
}

void test("policy.metadata: closed keeps credentials from pods, also from those that nothing judges; its other ports stay, and the node has all", async (t) => {
  const agent = await servingAgent(t, { policy: { metadata: "closed" } });
  const cloud = makeCloud(t, agent);
  for (const port of [53, 80]) await serve(t, cloud, port);
  const web = await addPod(t, agent, "web", { app: "web" });
  const noTcp = all.filter((one) => !one.startsWith("tcp"));
  await until("the way there works", async () => (await answered(t, web, cloud, 53)).length === all.length);
  assert.deepEqual(await answered(t, web, cloud, 80), noTcp);
  assert.deepEqual(await answered(t, { ...web, netns: agent.node }, cloud, 80), all);
  agent.node.run("nft", "delete", "table", "inet", "fairlead-policy");
  await until("it is closed again", async () => (await answered(t, web, cloud, 80)).length === noTcp.length);
});
