// Conformance 14, first part: another plugin as Fairlead's IPAM: how it is found and run at ADD, and what becomes of its answer.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { delegated, verbsOf } from "./delegated.ts";
import { addressesOf, globalAddressesIn, gone, hasLink, podTraces, reachable, routesIn } from "./eyes.ts";
import { fileScope, startNode } from "./node.ts";
import { refused, silent } from "./runtime.ts";

const node = await startNode(fileScope);
const valid = "cni.dev/valid-attachments";

test("14.1 the interface has the addresses that the delegate gave, and they work", async (t) => {
  const { asked, addresses } = delegated(t, node);
  const pod = node.pod(t);
  const result = await node.add(pod, asked());
  assert.deepEqual(addressesOf(result), addresses);
  assert.deepEqual(
    globalAddressesIn(pod.ns, "eth0")
      .map((text) => text.replace(/\/.*/, ""))
      .sort(),
    addresses,
  );
  for (const { interface: on } of result.ips) assert.equal(result.interfaces[on ?? -1]?.sandbox, pod.ns.path);
  reachable(node, pod.ns, result);
});

test("14.2 the delegate is run with the same variables and the same configuration", async (t) => {
  const { asked, delegate } = delegated(t, node);
  const pod = node.pod(t);
  const more = { "some.key/x": { deep: [1, null, "ü"] }, args: { cni: { labels: [] } } };
  const env = { CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=a;K8S_POD_NAMESPACE=b", TRACEPARENT: "00-1-2-01" };
  await node.add(pod, asked(more, env));
  const [call] = delegate.calls("ADD");
  const wanted = node.env("ADD", pod, { ...asked().env, ...env });
  for (const [name, value] of Object.entries(wanted))
    if (name.startsWith("CNI_") || name === "TRACEPARENT") assert.equal(call?.env[name], value, name);
  assert.deepEqual(call?.stdin, node.conf({ ...asked(more).conf }));
});

test("14.3 CHECK, DEL, STATUS and GC are passed on, each once", async (t) => {
  const own = await startNode(t);
  const all = delegated(t, own);
  const { asked, delegate } = all;
  const pod = own.pod(t);
  const prevResult = await own.add(pod, asked());
  silent(await own.call("CHECK", pod, asked({ prevResult })));
  silent(await own.call("STATUS", undefined, asked()));
  const list = [{ containerID: pod.id, ifname: "eth0" }];
  silent(await own.call("GC", undefined, asked({ [valid]: list, "cni.dev/attachments": list })));
  assert.ok(hasLink(pod.ns, "eth0"));
  silent(await own.call("DEL", pod, asked({ prevResult })));
  assert.deepEqual(verbsOf(all), ["ADD", "CHECK", "STATUS", "GC", "DEL"]);
  assert.deepEqual(delegate.calls("CHECK")[0]?.stdin["prevResult"], prevResult);
  assert.deepEqual(delegate.calls("DEL")[0]?.stdin["prevResult"], prevResult);
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("14.4 GC gives the delegate the same list", async (t) => {
  const own = await startNode(t);
  const { asked, delegate } = delegated(t, node);
  const [kept, stale] = [own.pod(t), own.pod(t)];
  await own.add(kept, asked());
  const other = await own.add(stale);
  const list = [{ containerID: kept.id, ifname: "eth0" }];
  silent(await own.call("GC", undefined, asked({ [valid]: list })));
  assert.deepEqual(delegate.calls("GC")[0]?.stdin[valid], list);
  await gone(own, other);
  assert.ok(hasLink(kept.ns, "eth0"));
});

test("14.5 routes and dns of the delegate stand in the result, and the routes in the pod", async (t) => {
  const { asked, delegate } = delegated(t, node);
  const routes = [{ dst: "0.0.0.0/0" }, { dst: "203.0.113.0/24" }];
  const dns = { nameservers: ["192.0.2.53"], search: ["example.org"] };
  delegate.answers("ADD", JSON.stringify({ cniVersion: "1.1.0", ips: [{ address: "192.0.2.200/24" }], routes, dns }));
  const pod = node.pod(t);
  const result = await node.add(pod, asked());
  assert.deepEqual(result.dns, dns);
  for (const { dst } of routes) {
    assert.ok(
      result.routes.some((route) => route.dst === dst),
      `${dst} in the result`,
    );
    assert.ok(
      routesIn(pod.ns, 4).some((route) => route.dst === dst && route.dev === "eth0"),
      `${dst} in the pod`,
    );
  }
});

test("14.6 an answer in each version is understood", async (t) => {
  for (const [cniVersion, ips] of [
    ["0.2.0", { ip4: { ip: "192.0.2.210/24", gateway: "192.0.2.254" } }],
    ["0.4.0", { ips: [{ version: "4", address: "192.0.2.210/24", gateway: "192.0.2.254" }] }],
    ["1.0.0", { ips: [{ address: "192.0.2.210/24" }] }],
  ] as const) {
    const { asked, delegate } = delegated(t, node);
    delegate.answers("ADD", JSON.stringify({ cniVersion, ...ips }));
    const pod = node.pod(t);
    const outcome = await node.call("ADD", pod, asked({ cniVersion }));
    assert.equal(outcome.exitCode, 0, outcome.stdout);
    assert.ok(outcome.stdout.includes("192.0.2.210/"));
    assert.ok(globalAddressesIn(pod.ns, "eth0").some((address) => address.startsWith("192.0.2.210/")));
    silent(await node.call("DEL", pod, asked({ cniVersion })));
  }
});

test("14.7 the delegate's failure of ADD is told with its code and words, and the delegate gets DEL", async (t) => {
  const all = delegated(t, node, "static");
  all.delegate.fails("ADD", 111, "no room in the planned range");
  const pod = node.pod(t);
  refused(await node.call("ADD", pod, all.asked()), 111, "no room in the planned range");
  assert.deepEqual(verbsOf(all), ["ADD", "DEL"]);
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("14.8 where a later step of ADD fails, the delegate gets DEL, and the first error is told", async (t) => {
  const own = await startNode(t);
  const all = delegated(t, own);
  const pod = own.pod(t);
  pod.ns.run("ip", "link", "add", "eth0", "type", "bridge");
  const before = podTraces(own.ns);
  all.delegate.fails("DEL", 112, "planned failure of the cleaning up");
  refused(await own.call("ADD", pod, all.asked()), "any", "eth0");
  assert.deepEqual(verbsOf(all), ["ADD", "DEL"]);
  assert.deepEqual(podTraces(own.ns), before);
});

test("14.9 an answer that is no result is an error, and the delegate gets DEL", async (t) => {
  for (const text of [
    "",
    "no JSON",
    "[]",
    "{}",
    '{"cniVersion":"1.1.0","ips":[]}',
    '{"cniVersion":"1.1.0","ips":[{"address":"junk"}]}',
  ]) {
    const all = delegated(t, node);
    all.delegate.prints("ADD", text);
    const pod = node.pod(t);
    refused(await node.call("ADD", pod, all.asked()), "any", "host-local");
    assert.deepEqual(verbsOf(all), ["ADD", "DEL"], text);
    assert.ok(!hasLink(pod.ns, "eth0"));
  }
});

test("14.10 a failure without an error object is told with what the delegate wrote to stderr", async (t) => {
  const { asked, delegate } = delegated(t, node);
  delegate.prints("ADD", "", 3);
  refused(await node.call("ADD", node.pod(t), asked()), "any", "host-local", "a line of the plugin's log");
});

test("14.11 a delegate that is not on CNI_PATH is an error that names it", async (t) => {
  const { asked } = delegated(t, node);
  const pod = node.pod(t);
  refused(await node.call("ADD", pod, asked({}, { CNI_PATH: "/nowhere" })), "any", "host-local", "CNI_PATH");
  refused(await node.call("ADD", pod, asked({}, { CNI_PATH: undefined })), "any", "CNI_PATH");
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("14.12 the first regular file of that name on CNI_PATH is the one", async (t) => {
  const [first, second] = [delegated(t, node), delegated(t, node)];
  const empty = mkdtempSync(join(tmpdir(), "fltest-cni-"));
  t.after(() => rmSync(empty, { recursive: true }));
  mkdirSync(join(empty, "host-local"));
  const CNI_PATH = `${empty}::/nowhere:${first.delegate.directory}:${second.delegate.directory}`;
  await node.add(node.pod(t), first.asked({}, { CNI_PATH }));
  assert.deepEqual([verbsOf(first), verbsOf(second)], [["ADD"], []]);
});

test("14.13 a type with a path in it is refused and not run", async (t) => {
  const all = delegated(t, node);
  const inside = all.delegate.directory.split("/").at(-1) ?? "";
  for (const type of [`../${inside}/host-local`, `${all.delegate.directory}/host-local`, "..", "a/b"])
    refused(await node.call("ADD", node.pod(t), all.asked({ ipam: { type } })), "any");
  assert.deepEqual(verbsOf(all), []);
});
