// Conformance 10: GC: it keeps exactly what the runtime lists of this network, and removes nothing where there is no list.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import { until } from "../until.ts";
import { bare, gone, hasLink, hostEnd, podTraces, reachable, stateOf } from "./eyes.ts";
import { type Pod, type Scope, startNode, type TestNode } from "./node.ts";
import { refused, type Result, resultOf, silent } from "./runtime.ts";

const valid = "cni.dev/valid-attachments";
const legacy = "cni.dev/attachments";

const entry = ({ id, ifname }: Pod) => ({ containerID: id, ifname });

interface Attached {
  pod: Pod;
  result: Result;
  conf: { name: string };
}

/** Attaches a fresh pod to `network`. */
async function attached(node: TestNode, t: Scope, name = "fairlead"): Promise<Attached> {
  const pod = node.pod(t);
  return { pod, result: await node.add(pod, { conf: { name } }), conf: { name } };
}

/** It is all there, and CHECK agrees. */
async function assertKept(node: TestNode, { pod, result, conf }: Attached): Promise<void> {
  reachable(node, pod.ns, result);
  silent(await node.call("CHECK", pod, { conf: { ...conf, prevResult: result } }));
}

async function assertCollected(node: TestNode, { pod, result, conf }: Attached): Promise<void> {
  await gone(node, result);
  await until("the pod's end is gone", () => !hasLink(pod.ns, pod.ifname));
  refused(await node.call("CHECK", pod, { conf: { ...conf, prevResult: result } }), "any");
}

test("10.1 without a list nothing is removed", async (t) => {
  const node = await startNode(t);
  const pod = await attached(node, t);
  for (const conf of [{}, { [valid]: null }, { [legacy]: null }]) silent(await node.call("GC", undefined, { conf }));
  await assertKept(node, pod);
});

test("10.2 an empty list removes everything of this network and nothing of any other", async (t) => {
  const node = await startNode(t);
  const red = [await attached(node, t, "red"), await attached(node, t, "red")];
  const blue = await attached(node, t, "blue");
  silent(await node.call("GC", undefined, { conf: { name: "red", [valid]: [] } }));
  for (const pod of red) await assertCollected(node, pod);
  await assertKept(node, blue);
});

test("10.3 exactly the listed attachments are kept: the interface name counts as the container id does", async (t) => {
  const node = await startNode(t);
  const [first, second] = [await attached(node, t), await attached(node, t)];
  const net1 = { ...first.pod, ifname: "net1" };
  const third: Attached = { pod: net1, result: await node.add(net1), conf: first.conf };
  silent(await node.call("GC", undefined, { conf: { [valid]: [entry(first.pod)] } }));
  await assertCollected(node, second);
  await assertCollected(node, third);
  await assertKept(node, first);
});

test("10.4 the older key alone is understood", async (t) => {
  const node = await startNode(t);
  const [kept, stale] = [await attached(node, t), await attached(node, t)];
  silent(await node.call("GC", undefined, { conf: { [legacy]: [entry(kept.pod)] } }));
  await assertCollected(node, stale);
  await assertKept(node, kept);
  silent(await node.call("GC", undefined, { conf: { [legacy]: [] } }));
  await assertCollected(node, kept);
});

test("10.5 both keys with one list, as the library sends them, are one list", async (t) => {
  const node = await startNode(t);
  const [kept, stale] = [await attached(node, t), await attached(node, t)];
  const list = [entry(kept.pod)];
  silent(await node.call("GC", undefined, { conf: { [valid]: list, [legacy]: list } }));
  await assertCollected(node, stale);
  await assertKept(node, kept);
});

test("10.6 a second GC with the same list changes nothing", async (t) => {
  const node = await startNode(t);
  const [kept, stale] = [await attached(node, t), await attached(node, t)];
  const conf = { [valid]: [entry(kept.pod)] };
  silent(await node.call("GC", undefined, { conf }));
  await assertCollected(node, stale);
  const before = stateOf(node.ns);
  for (let times = 0; times < 2; times += 1) silent(await node.call("GC", undefined, { conf }));
  assert.deepEqual(stateOf(node.ns), before);
});

test("10.7 listed attachments without any state are ignored", async (t) => {
  const node = await startNode(t);
  const kept = await attached(node, t);
  const strangers = [
    { containerID: "never", ifname: "eth0" },
    { containerID: kept.pod.id, ifname: "net9" },
  ];
  silent(await node.call("GC", undefined, { conf: { [valid]: [...strangers, entry(kept.pod)] } }));
  await assertKept(node, kept);
});

test("10.8 namespaces may be gone already", async (t) => {
  const node = await startNode(t);
  const [kept, stale] = [await attached(node, t), await attached(node, t)];
  stale.pod.ns.remove();
  silent(await node.call("GC", undefined, { conf: { [valid]: [entry(kept.pod)] } }));
  await gone(node, stale.result);
  await assertKept(node, kept);
});

test("10.9 one removal that fails does not stop the rest, and is reported at the end", async (t) => {
  const state = { stuck: "" };
  const node = await startNode(t, {
    wrap: (kernel) => ({
      ...kernel,
      guard: {
        ...kernel.guard,
        withdraw: async (entries) => {
          if (entries.some(({ link }) => link === state.stuck)) throw new Fault("kernel-refused", "planned: stuck");
          return kernel.guard.withdraw(entries);
        },
      },
    }),
  });
  const pods = await Promise.all([1, 2, 3, 4].map(() => attached(node, t)));
  const [first, ...others] = pods as [Attached, ...Attached[]];
  state.stuck = hostEnd(first.result);
  const outcome = await node.call("GC", undefined, { conf: { [valid]: [] } });
  refused(outcome, "any", first.pod.id, "planned: stuck");
  for (const pod of others) await assertCollected(node, pod);
  state.stuck = "";
  silent(await node.call("GC", undefined, { conf: { [valid]: [] } }));
  await bare(node);
});

test("10.10 after GC the runtime's DEL succeeds silently, and ADD works", async (t) => {
  const node = await startNode(t);
  const { pod, result } = await attached(node, t);
  silent(await node.call("GC", undefined, { conf: { [valid]: [] } }));
  silent(await node.call("DEL", pod, { conf: { prevResult: result } }));
  reachable(node, pod.ns, await node.add(pod));
});

test("10.11 GC with nothing to remove is silent", async (t) => {
  const node = await startNode(t);
  const before = stateOf(node.ns);
  silent(await node.call("GC", undefined, { conf: { [valid]: [] } }));
  assert.deepEqual(stateOf(node.ns), before);
});

test("10.12 a list that cannot be read wholly is refused, and nothing is removed", async (t) => {
  const node = await startNode(t);
  const pod = await attached(node, t);
  const lists = ["text", 7, {}, [null], ["text"], [{}], [{ containerID: "a" }], [{ containerID: 1, ifname: "eth0" }]];
  for (const list of lists)
    refused(await node.call("GC", undefined, { conf: { [valid]: list } }), [6, 7], "cni.dev/valid-attachments");
  await assertKept(node, pod);
});

test("10.13 a long list is read", async (t) => {
  const node = await startNode(t);
  const [kept, stale] = [await attached(node, t), await attached(node, t)];
  const others = Array.from({ length: 5000 }, (_, n) => ({ containerID: `other-${n}`, ifname: "eth0" }));
  silent(await node.call("GC", undefined, { conf: { [valid]: [...others, entry(kept.pod)] } }));
  await assertCollected(node, stale);
  await assertKept(node, kept);
});

test("10.14 GC removes many at once", async (t) => {
  const node = await startNode(t);
  const pods = Array.from({ length: 30 }, () => node.pod(t));
  for (const outcome of await node.each("ADD", pods)) resultOf(outcome);
  silent(await node.call("GC", undefined, { conf: { [valid]: [entry(pods[0] as Pod)] } }));
  await until(
    "only the listed one is left",
    () => podTraces(node.ns).filter((trace) => trace.startsWith("link")).length === 1,
  );
  assert.ok(hasLink((pods[0] as Pod).ns, "eth0"));
});

test("10.15 an interface of ours of which no record is left is removed too", async (t) => {
  const node = await startNode(t);
  const { pod, result } = await attached(node, t);
  await node.agent.stop();
  rmSync(node.agent.config.paths.state, { recursive: true });
  await node.agent.start();
  silent(await node.call("GC", undefined, { conf: { [valid]: [] } }));
  await gone(node, result);
  await until("the pod's end is gone", () => !hasLink(pod.ns, "eth0"));
});
