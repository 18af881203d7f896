// Conformance 6: DEL: it removes everything of one attachment, succeeds for what is gone already, and never touches anything else.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { failingKernel, type FailurePlan } from "../failing-kernel.ts";
import { until } from "../until.ts";
import { addressesOf, bare, gone, hasLink, hostEnd, linksIn, reachable, stateOf } from "./eyes.ts";
import { fileScope, startNode, type TestNode } from "./node.ts";
import { refused, silent } from "./runtime.ts";

const node = await startNode(fileScope);

/** Ends the agent, takes its whole state away, and starts another. */
async function forget({ agent }: TestNode, alsoTake: () => void = () => {}): Promise<void> {
  await agent.stop();
  rmSync(agent.config.paths.state, { recursive: true });
  alsoTake();
  await agent.start();
}

test("6.1 DEL succeeds silently and removes interface, host link, routes and filter entries", async (t) => {
  const pod = node.pod(t);
  const result = await node.add(pod);
  silent(await node.call("DEL", pod, { conf: { prevResult: result } }));
  assert.ok(!hasLink(pod.ns, "eth0"), "the name is free at once");
  await gone(node, result);
  assert.deepEqual(
    linksIn(pod.ns).map(({ ifname }) => ifname),
    ["lo"],
  );
});

test("6.2 a second and a third DEL succeed silently", async (t) => {
  const pod = node.pod(t);
  const prevResult = await node.add(pod);
  for (let times = 0; times < 3; times += 1) silent(await node.call("DEL", pod, { conf: { prevResult } }));
});

test("6.3 DEL of what was never added succeeds silently, and leaves the interface of that name alone", async (t) => {
  const pod = node.pod(t);
  silent(await node.call("DEL", pod));
  pod.ns.run("ip", "link", "add", "eth0", "type", "bridge");
  const before = stateOf(pod.ns);
  silent(await node.call("DEL", pod));
  assert.deepEqual(stateOf(pod.ns), before);
});

test("6.4 DEL succeeds where the namespace is gone", async (t) => {
  const pod = node.pod(t);
  const prevResult = await node.add(pod);
  pod.ns.remove();
  silent(await node.call("DEL", pod, { conf: { prevResult } }));
  await gone(node, prevResult);
});

test("6.5 DEL without CNI_NETNS removes the attachment all the same", async (t) => {
  for (const CNI_NETNS of [undefined, ""]) {
    const pod = node.pod(t);
    const result = await node.add(pod);
    silent(await node.call("DEL", pod, { env: { CNI_NETNS } }));
    assert.ok(!hasLink(pod.ns, "eth0"));
    await gone(node, result);
  }
});

test("6.6 DEL with a path that is no namespace removes the attachment all the same", async (t) => {
  for (const CNI_NETNS of ["/run/netns/fltest-nowhere", "/etc/hostname", "relative", "/run"]) {
    const pod = node.pod(t);
    const result = await node.add(pod);
    silent(await node.call("DEL", pod, { env: { CNI_NETNS } }));
    await gone(node, result);
  }
});

test("6.7 DEL succeeds where either end of the link was removed before", async (t) => {
  for (const side of ["pod", "node"]) {
    const pod = node.pod(t);
    const result = await node.add(pod);
    if (side === "pod") pod.ns.run("ip", "link", "delete", "eth0");
    else node.ns.run("ip", "link", "delete", hostEnd(result));
    silent(await node.call("DEL", pod, { conf: { prevResult: result } }));
    await gone(node, result);
  }
});

test("6.8 DEL succeeds and removes the link where the node has lost its records", async (t) => {
  const lost = await startNode(t);
  const pod = lost.pod(t);
  const prevResult = await lost.add(pod);
  await forget(lost);
  silent(await lost.call("DEL", pod, { conf: { prevResult } }));
  await bare(lost);
});

test("6.9 DEL succeeds where everything of the node is lost", async (t) => {
  const lost = await startNode(t);
  const pod = lost.pod(t);
  const prevResult = await lost.add(pod);
  await forget(lost, () => {
    lost.ns.run("ip", "link", "delete", hostEnd(prevResult));
    lost.ns.run("nft", "flush", "ruleset");
    for (const family of ["-4", "-6"]) lost.ns.run("ip", family, "route", "flush", "proto", "142");
  });
  for (const conf of [{ prevResult }, {}]) silent(await lost.call("DEL", pod, { conf }));
});

test("6.10 DEL succeeds whatever stands in prevResult", async (t) => {
  const junk = [
    undefined,
    null,
    {},
    [],
    "text",
    7,
    { cniVersion: "9.9.9", ips: "no list" },
    { cniVersion: "0.2.0", ip4: { ip: "10.4.1.1/32" } },
    { cniVersion: "1.1.0", interfaces: [{ name: "a/b" }], ips: [{ address: "10.4.1.300/99", interface: 12 }] },
    { cniVersion: "1.1.0", interfaces: [{ name: "other", sandbox: "/nowhere" }], ips: [{ address: "192.0.2.1/24" }] },
  ];
  for (const prevResult of junk) {
    const pod = node.pod(t);
    const result = await node.add(pod);
    silent(await node.call("DEL", pod, { conf: { prevResult } }));
    assert.ok(!hasLink(pod.ns, "eth0"), JSON.stringify(prevResult));
    await gone(node, result);
  }
});

test("6.11 DEL succeeds after each ADD that was refused, with the same environment and input", async (t) => {
  const changes = [
    { env: { CNI_ARGS: "FOO=bar" } },
    { env: { CNI_ARGS: "IgnoreUnknown=1;IP=10.4.1.77" } },
    { env: { CNI_NETNS: "/run/netns/fltest-nowhere" } },
    { conf: { prevResult: "junk" } },
  ];
  for (const change of changes) {
    const pod = node.pod(t);
    refused(await node.call("ADD", pod, change), "any");
    for (let times = 0; times < 2; times += 1) silent(await node.call("DEL", pod, change));
  }
});

test("6.12 DEL of one interface leaves the container's other one working", async (t) => {
  const pod = node.pod(t);
  const first = await node.add(pod);
  const second = await node.add({ ...pod, ifname: "net1" });
  silent(await node.call("DEL", { ...pod, ifname: "net1" }));
  await gone(node, second);
  reachable(node, pod.ns, first);
});

test("6.13 DEL of one network leaves the same container's attachment to another", async (t) => {
  const pod = node.pod(t);
  const red = await node.add(pod, { conf: { name: "red" } });
  silent(await node.call("DEL", pod, { conf: { name: "blue" } }));
  reachable(node, pod.ns, red);
});

test("6.14 a late DEL of an old container leaves the pod that has its place now", async (t) => {
  const old = node.pod(t);
  const prevResult = await node.add(old);
  silent(await node.call("DEL", old));
  const next = { ...node.pod(t), ns: old.ns };
  const result = await node.add(next);
  silent(await node.call("DEL", old, { conf: { prevResult } }));
  silent(await node.call("DEL", old, { conf: { prevResult: result } }));
  reachable(node, next.ns, result);
});

test("6.15 connection tracking forgets the address soon after DEL", async (t) => {
  const tracked = await startNode(t);
  // Connections are tracked as soon as a rule asks for them, as kube-proxy's do.
  tracked.ns.run("nft", "add table inet track");
  tracked.ns.run("nft", "add chain inet track in { type filter hook input priority 10; }");
  tracked.ns.run("nft", "add rule inet track in ct state new accept");
  const pod = tracked.pod(t);
  const result = await tracked.add(pod);
  reachable(tracked, pod.ns, result);
  const entries = () => {
    const seen = ["ipv4", "ipv6"].map((family) => tracked.ns.run("conntrack", "-L", "-f", family)).join("");
    return addressesOf(result).filter(
      (address) => seen.includes(`src=${address} `) || seen.includes(`dst=${address} `),
    );
  };
  assert.equal(entries().length, 2, "both addresses are tracked before");
  silent(await tracked.call("DEL", pod));
  await until("no tracked connection has the address", () => entries().length === 0);
});

/** Kernel calls of one DEL, more than it makes. */
const callsMax = 20;

test("6.16 a DEL that could not remove everything says so, and not that something was not found; DEL again finishes", async (t) => {
  let plan: FailurePlan | undefined;
  const shaky = await startNode(t, {
    wrap: (kernel) => {
      const failing = failingKernel(kernel);
      plan = failing.plan;
      return failing.kernel;
    },
  });
  const steer = present(plan, "plan");
  let failures = 0;
  for (let at = 1; at <= callsMax; at += 1) {
    const pod = shaky.pod(t);
    await shaky.add(pod);
    Object.assign(steer, { at, when: "before", seen: 0 });
    const outcome = await shaky.call("DEL", pod);
    steer.at = undefined;
    if (outcome.exitCode !== 0) {
      failures += 1;
      // Runtimes take an error with these words for success and never call again.
      assert.doesNotMatch(refused(outcome, "any").msg, /not found/i);
      silent(await shaky.call("DEL", pod));
    }
    await bare(shaky);
    if (outcome.exitCode === 0) break;
  }
  assert.ok(failures > 0, "a call failed");
});
