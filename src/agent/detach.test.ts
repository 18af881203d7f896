// DEL and GC on a node in memory: what no journal knows, what is on its way out, and what a list of attachments is about.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startFakeNode } from "../../test/model/fake-node.ts";
import { present } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import { silentLog } from "../base/log.ts";
import { createMetrics } from "../base/metrics.ts";
import type { AttachmentId } from "../ipam/store.ts";
import type { Kernel } from "../kernel/contract.ts";
import { localMac } from "../net/mac.ts";
import { anySource, derivedNames, doomedGroup, openGroup } from "./plan.ts";
import { openPolicy } from "./policy/pod-policy.ts";
import { syncGuard } from "./recover.ts";

const idOf = (containerId: string): AttachmentId => ({ network: "fairlead", containerId, ifname: "eth0" });

async function groupOf({ node }: Kernel, containerId: string): Promise<number | undefined> {
  return (await node.link(derivedNames(idOf(containerId)).hostLink))?.group;
}

test("DEL of what no journal knows removes the link that names it, and no other", async () => {
  const first = await startFakeNode();
  await first.add("c1");
  const { machine } = first;
  const { node } = machine.kernel;
  // Without its route the attachment cannot be read back from its link.
  const route = (await node.routes()).find(({ protocol }) => protocol === 142);
  await node.apply([{ op: "route.remove", route: present(route, "route") }]);
  const mac = localMac(Buffer.from("another's"));
  const name = derivedNames(idOf("c2")).hostLink;
  await node.apply([
    { op: "link.addVeth", name, mac, mtu: 1500, group: openGroup, peer: { netns: node, name: "peer", mac, mtu: 1500 } },
    { op: "link.set", link: name, alias: "fairlead1 fairlead/another/eth0" },
  ]);
  const second = await startFakeNode({ machine });
  assert.deepEqual(second.core.pool.all(), []);
  for (const id of ["c1", "c2"]) await second.remove(id);
  assert.equal(await groupOf(machine.kernel, "c1"), doomedGroup);
  assert.equal(await groupOf(machine.kernel, "c2"), openGroup);
});

test("a pass of the guard does not admit a pod again whose removal has begun", async () => {
  const { machine, core, add } = await startFakeNode();
  await add("c1");
  await add("c2");
  core.pool.leave(idOf("c1"));
  await syncGuard(core.pool, {
    policy: openPolicy,
    kernel: machine.kernel,
    log: silentLog(),
    metrics: createMetrics(),
  });
  assert.deepEqual(
    (await machine.kernel.guard.list())?.map(({ address }) => address),
    ["10.4.1.3"],
  );
});

test("a pass of the guard that has to ask the kernel first takes what came and went meanwhile as it is then", async () => {
  const { machine, core, add, remove } = await startFakeNode();
  await add("c1");
  await add("c2");
  const { kernel } = machine;
  const list = async (): ReturnType<typeof kernel.guard.list> => {
    const held = await kernel.guard.list();
    await remove("c1");
    await add("c3");
    return held;
  };
  await syncGuard(core.pool, {
    // As where nobody has said yet who may send from any address.
    policy: { ...openPolicy, isUnguarded: () => undefined },
    kernel: { ...kernel, guard: { ...kernel.guard, list } },
    log: silentLog(),
    metrics: createMetrics(),
  });
  assert.deepEqual(
    (await kernel.guard.list())?.map(({ address }) => address),
    ["10.4.1.3", "10.4.1.4"],
  );
});

test("a pass of the guard leaves a pod outside it that is, until somebody says whether it may be", async () => {
  const { machine, core, add } = await startFakeNode();
  await add("c1");
  await add("c2");
  const { kernel } = machine;
  await kernel.guard.admit([anySource(derivedNames(idOf("c1")).hostLink)]);
  const deps = { kernel, log: silentLog(), metrics: createMetrics() };
  const listed = async (): Promise<string[]> =>
    ((await kernel.guard.list()) ?? []).map(({ address }) => address).sort();
  await syncGuard(core.pool, { ...deps, policy: { ...openPolicy, isUnguarded: () => undefined } });
  assert.deepEqual(await listed(), ["10.4.1.2", "10.4.1.3", "any"]);
  await syncGuard(core.pool, { ...deps, policy: { ...openPolicy, isUnguarded: () => false } });
  assert.deepEqual(await listed(), ["10.4.1.2", "10.4.1.3"]);
});

test("GC is about its own network, and tries every removal", async () => {
  const { machine, core, call, add } = await startFakeNode();
  await add("c1");
  await add("c2");
  machine.addNetns("c3");
  assert.equal((await call("ADD", "c3", { name: "second" })).code, 0);
  machine.kernel.failNext("guard.withdraw", new Fault("kernel-refused", "not this one"));
  const { code, stdout } = await call("GC", "", { "cni.dev/valid-attachments": [] });
  assert.equal(code, 112);
  assert.match(stdout, /fairlead\/c1\/eth0 is not wholly removed.*not this one/);
  assert.deepEqual(
    core.pool.all().map(({ attachment: { network, containerId } }) => `${network}/${containerId}`),
    ["fairlead/c1", "second/c3"],
  );
});

test("GC takes nothing from a pod that came under the same name while it was at work", async () => {
  const { machine, core, call, add, remove } = await startFakeNode();
  await add("c1");
  await add("c2");
  const { kernel } = machine;
  const withdraw = kernel.guard.withdraw.bind(kernel.guard);
  let isFirst = true;
  kernel.guard.withdraw = async (entries) => {
    if (isFirst) {
      isFirst = false;
      await remove("c2");
      await machine.removeNetns("c2");
      await add("c2");
    }
    return withdraw(entries);
  };
  assert.equal((await call("GC", "", { "cni.dev/valid-attachments": [] })).code, 0);
  assert.deepEqual(
    core.pool.all().map(({ attachment }) => attachment.containerId),
    ["c2"],
  );
});
