// Conformance 14, second part: another plugin as Fairlead's IPAM in every other verb, its failures there, and many of them at once.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { delegated, verbsOf } from "./delegated.ts";
import { bare, hasLink, pings, reachable } from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { type Outcome, refused, silent } from "./runtime.ts";

const node = await startNode(fileScope);
const valid = "cni.dev/valid-attachments";

test("14.14 DEL removes the interface even where the delegate's DEL fails, and tells of it", async (t) => {
  const { asked, delegate } = delegated(t, node);
  const pod = node.pod(t);
  await node.add(pod, asked());
  delegate.fails("DEL", 111, "planned failure");
  refused(await node.call("DEL", pod, asked()), 111, "planned failure");
  assert.ok(!hasLink(pod.ns, "eth0"));
  delegate.answers("DEL", "empty");
  silent(await node.call("DEL", pod, asked()));
});

test("14.15 DEL is passed on for what was never added, again, and after the records are lost", async (t) => {
  const own = await startNode(t);
  const all = delegated(t, node);
  const pod = own.pod(t);
  for (let times = 0; times < 2; times += 1) silent(await own.call("DEL", pod, all.asked()));
  await own.add(pod, all.asked());
  await own.agent.stop();
  rmSync(own.agent.config.paths.state, { recursive: true });
  await own.agent.start();
  silent(await own.call("DEL", pod, all.asked()));
  assert.deepEqual(verbsOf(all), ["DEL", "DEL", "ADD", "DEL"]);
  await bare(own);
});

test("14.16 CHECK tells the delegate's failure", async (t) => {
  const { asked, delegate } = delegated(t, node);
  const pod = node.pod(t);
  const prevResult = await node.add(pod, asked());
  delegate.fails("CHECK", 111, "planned: the reservation is gone");
  refused(await node.call("CHECK", pod, asked({ prevResult })), 111, "the reservation is gone");
});

test("14.17 CHECK sees what the kernel lost of a delegate's address", async (t) => {
  const { asked, addresses } = delegated(t, node);
  const pod = node.pod(t);
  const prevResult = await node.add(pod, asked());
  pod.ns.run("ip", "address", "flush", "dev", "eth0", "scope", "global");
  refused(await node.call("CHECK", pod, asked({ prevResult })), "any", addresses[0] ?? "");
});

test("14.18 STATUS tells the delegate's failure with its code, and stops no ADD or DEL", async (t) => {
  const { asked, delegate } = delegated(t, node);
  const pod = node.pod(t);
  for (const code of [50, 51]) {
    delegate.fails("STATUS", code, "planned: range is full");
    refused(await node.call("STATUS", undefined, asked()), code, "range is full");
  }
  reachable(node, pod.ns, await node.add(pod, asked()));
  silent(await node.call("DEL", pod, asked()));
  silent(await node.call("STATUS"));
});

test("14.19 GC tells the delegate's failure after it has done its own part", async (t) => {
  const own = await startNode(t);
  const { asked, delegate } = delegated(t, node);
  const pod = own.pod(t);
  await own.add(pod, asked());
  delegate.fails("GC", 111, "planned failure");
  refused(await own.call("GC", undefined, asked({ [valid]: [] })), "any", "planned failure");
  await bare(own);
});

test("14.20 the delegate inherits nothing but its standard descriptors, and leaves no zombie", async (t) => {
  const { asked, delegate } = delegated(t, node);
  const pod = node.pod(t);
  await node.add(pod, asked());
  silent(await node.call("DEL", pod, asked()));
  assert.equal(delegate.calls().length, 2);
  for (const { descriptors } of delegate.calls())
    // 10 and up are the shell's own: its script.
    assert.deepEqual(descriptors.filter((fd) => Number(fd) < 10).sort(), ["0", "1", "2"]);
  const children = node.ns.run("ps", "-o", "stat=,args=", "--ppid", String(process.pid));
  assert.doesNotMatch(children, /^Z/m);
});

test("14.21 addresses of a delegate are guarded as our own: no other source leaves the pod", async (t) => {
  const { asked, addresses } = delegated(t, node);
  const pod = node.pod(t);
  await node.add(pod, asked());
  pod.ns.run("ip", "address", "add", "192.0.2.250/32", "dev", "eth0");
  assert.ok(pings(pod.ns, "172.30.0.11", addresses[0]));
  assert.ok(!pings(pod.ns, "172.30.0.11", "192.0.2.250"));
});

test("14.22 ten pods at once each get what their delegate gave", async (t) => {
  const all = Array.from({ length: 10 }, () => ({ ...delegated(t, node), pod: node.pod(t) }));
  const outcomes: Outcome[] = await Promise.all(all.map(({ pod, asked }) => node.call("ADD", pod, asked())));
  for (const [index, { stdout, exitCode }] of outcomes.entries()) {
    assert.equal(exitCode, 0, stdout);
    assert.ok(stdout.includes(`${all[index]?.addresses[0]}/`));
  }
});
