// Conformance 15: the agent is down or hangs: calls end within their bound and say what is down, a DEL is kept and done once, pods go on.

import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { until } from "../until.ts";
import { addressesOf, bare, gone, hasLink, podTraces, reachable } from "./eyes.ts";
import { type CallChange, fileScope, type Scope, startNode, type TestNode } from "./node.ts";
import { documentOf, refused, resultOf, silent } from "./runtime.ts";

/** No agent ever answers here. */
const absent = await startNode(fileScope);
await absent.agent.stop();
/** Calls with the plugin's own patience, as a runtime makes them: they go on beside the tests that come first. */
const patience = { env: { FAIRLEAD_CONNECT_MS: undefined } };
const patient = absent.call("ADD", absent.pod(fileScope), patience);
const patientStatus = absent.call("STATUS", undefined, patience);

const releases = ({ agent }: TestNode): string[] => readdirSync(join(dirname(agent.config.paths.socket), "releases"));

/** A socket on which something accepts callers and never says a word; the plugin waits a short time for its answer. */
async function hung(t: Scope): Promise<CallChange> {
  const directory = mkdtempSync(join(tmpdir(), "fltest-hung-"));
  const socket = join(directory, "cni.sock");
  const server = createServer({ allowHalfOpen: true }, (caller) => caller.on("error", () => {}).resume());
  server.listen(socket);
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.unref();
    rmSync(directory, { recursive: true });
  });
  return { env: { FAIRLEAD_SOCKET: socket, FAIRLEAD_REPLY_MS: "200" } };
}

test("15.1 ADD and CHECK may be tried again later, and say what is down and where to look", async (t) => {
  const pod = absent.pod(t);
  const prevResult = { cniVersion: "1.1.0", ips: [{ address: "10.4.1.1/32" }] };
  for (const verb of ["ADD", "CHECK"])
    refused(
      await absent.call(verb, pod, { conf: { prevResult } }),
      11,
      "agent",
      absent.agent.config.paths.socket,
      /log/,
    );
  assert.ok(!hasLink(pod.ns, "eth0"));
});

test("15.2 GC may be tried again later", async () => {
  refused(await absent.call("GC", undefined, { conf: { "cni.dev/valid-attachments": [] } }), 11, "agent");
});

test("15.3 STATUS is 50", async () => {
  refused(await absent.call("STATUS"), 50, "agent");
});

test("15.4 VERSION needs nobody", async () => {
  assert.ok(documentOf(await absent.call("VERSION"))["supportedVersions"]);
});

test("15.6 an agent that hangs is as one that is not there", async (t) => {
  const pod = absent.pod(t);
  const change = await hung(t);
  const prevResult = { cniVersion: "1.1.0", ips: [{ address: "10.4.1.1/32" }] };
  for (const [verb, code] of [
    ["ADD", 11],
    ["CHECK", 11],
    ["GC", 11],
    ["STATUS", 50],
  ] as const) {
    const outcome = await absent.call(verb, pod, { ...change, conf: { prevResult } });
    refused(outcome, code, "agent");
    assert.ok(outcome.tookMs < 5000, `${verb}: ${outcome.tookMs} ms`);
  }
  silent(await absent.call("DEL", pod, change));
});

test("15.7 pods go on while the agent is down, and are known when it is back", async (t) => {
  const node = await startNode(t);
  const pod = node.pod(t);
  const prevResult = await node.add(pod);
  await node.agent.stop();
  reachable(node, pod.ns, prevResult);
  await node.agent.start();
  silent(await node.call("CHECK", pod, { conf: { prevResult } }));
  reachable(node, pod.ns, prevResult);
});

test("15.8 DEL succeeds at once, is kept, and is done when the agent is back", async (t) => {
  const node = await startNode(t);
  const pod = node.pod(t);
  const prevResult = await node.add(pod);
  await node.agent.stop();
  const outcome = await node.call("DEL", pod, { conf: { prevResult }, around: 'umask 0; exec "$0"' });
  silent(outcome);
  assert.ok(outcome.tookMs < 5000);
  const [file = "", ...others] = releases(node);
  assert.deepEqual(others, []);
  const kept = statSync(join(dirname(node.agent.config.paths.socket), "releases", file));
  assert.equal(kept.mode & 0o7777, 0o600, "whatever the caller's mask");
  await node.agent.start();
  await until("the kept DEL is done", () => releases(node).length === 0);
  await gone(node, prevResult);
  await until("the pod's end is gone", () => !hasLink(pod.ns, "eth0"));
});

test("15.9 many kept DELs, some of them twice, are all done, and each address rests once", async (t) => {
  const node = await startNode(t, { blocks: ["10.4.1.0/28"] });
  const pods = Array.from({ length: 8 }, () => node.pod(t));
  const results = (await node.each("ADD", pods)).map(resultOf);
  await node.agent.stop();
  for (const outcome of await node.each("DEL", [...pods, ...pods.slice(0, 4)])) silent(outcome);
  await node.agent.start();
  await until("the kept DELs are done", () => releases(node).length === 0);
  await bare(node);
  // Fill what is left: the refusal tells how many rest.
  const given = results.flatMap(addressesOf);
  for (let times = 0; times < 16; times += 1) {
    const outcome = await node.call("ADD", node.pod(t));
    if (outcome.exitCode !== 0) {
      refused(outcome, 11, "8 cooling");
      assert.ok(times >= 4, `${times} addresses were free`);
      return;
    }
    given.push(...addressesOf(resultOf(outcome)));
    assert.equal(new Set(given).size, given.length, "no resting address is given");
  }
  assert.fail("a block of 16 addresses gave 16 more");
});

test("15.10 a kept DEL is never done to an attachment that was made after it", async (t) => {
  const node = await startNode(t);
  const old = node.pod(t);
  await node.add(old);
  await node.agent.stop();
  silent(await node.call("DEL", old));
  // The runtime was eager: enough of the same DEL to keep the agent busy for a while after its start.
  const directory = join(dirname(node.agent.config.paths.socket), "releases");
  const [file = ""] = releases(node);
  for (let copy = 0; copy < 100; copy += 1)
    copyFileSync(join(directory, file), join(directory, file.replace(/\.release$/, `${copy}.release`)));
  old.ns.remove();
  const pod = { ...old, ns: node.pod(t).ns };
  // The same container comes back in a new namespace, at the moment the agent does.
  const added = node.call("ADD", pod, { env: { FAIRLEAD_CONNECT_MS: "5000" } });
  await node.agent.start();
  const prevResult = resultOf(await added);
  await until("the kept DELs are done", () => releases(node).length === 0);
  silent(await node.call("CHECK", pod, { conf: { prevResult } }));
  reachable(node, pod.ns, prevResult);
});

test("15.11 a DEL that comes again after the agent is back changes nothing more", async (t) => {
  const node = await startNode(t);
  const pods = [node.pod(t), node.pod(t)] as const;
  const [first] = (await node.each("ADD", pods)).map(resultOf);
  await node.agent.stop();
  silent(await node.call("DEL", pods[0]));
  await node.agent.start();
  silent(await node.call("DEL", pods[0], { conf: { prevResult: first } }));
  await until("the kept DEL is done", () => releases(node).length === 0);
  await until("one pod is left", () => podTraces(node.ns).filter((trace) => trace.startsWith("link")).length === 1);
  const next = await node.add(node.pod(t));
  assert.ok(!addressesOf(next).some((address) => first?.ips.some((ip) => ip.address.startsWith(`${address}/`))));
});

test("15.12 a DEL that lacks a variable is refused, and not kept", async (t) => {
  const pod = absent.pod(t);
  const before = releases(absent);
  for (const name of ["CNI_CONTAINERID", "CNI_IFNAME"])
    refused(await absent.call("DEL", pod, { env: { [name]: undefined } }), 4, name);
  assert.deepEqual(releases(absent), before);
});

test("15.13 a kept DEL that nobody can read stops no other", async (t) => {
  const node = await startNode(t);
  const pod = node.pod(t);
  const result = await node.add(pod);
  await node.agent.stop();
  node.agent.audit.expectDamage(/\.release\.bad is there/, "put aside for a person to look at");
  silent(await node.call("DEL", node.pod(t), { stdin: "no configuration" }));
  silent(await node.call("DEL", pod));
  await node.agent.start();
  await gone(node, result);
  await until("no file waits", () => !releases(node).some((name) => name.endsWith(".release")));
});

test("15.5 ADD waits for an agent that is being replaced, and no longer than its bound", async (t) => {
  const node = await startNode(t);
  await node.agent.stop();
  const pod = node.pod(t);
  const added = node.call("ADD", pod, patience);
  await node.agent.start();
  reachable(node, pod.ns, resultOf(await added));
  const outcome = await patient;
  refused(outcome, 11);
  assert.ok(outcome.tookMs > 1000 && outcome.tookMs < 10_000, `${outcome.tookMs} ms`);
});

test("15.14 STATUS waits longer, for an agent that its kubelet starts again, and no longer than its bound", async () => {
  const outcome = await patientStatus;
  refused(outcome, 50);
  assert.ok(outcome.tookMs > 17_000 && outcome.tookMs < 25_000, `${outcome.tookMs} ms`);
});
