// ADD on a node in memory: what it makes is whole, what it takes back is whole, and for which address it waits.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { startFakeNode } from "../../test/model/fake-node.ts";
import { testAttachment } from "../../test/store.contract.ts";
import { until } from "../../test/until.ts";
import { present } from "../base/assert.ts";
import { Fault, isFault } from "../base/fault.ts";
import { within } from "../base/pause.ts";
import { createMemoryStore } from "../ipam/memory-store.ts";
import { openPool, type Pool } from "../ipam/pool.ts";
import { type Attachment, isWired } from "../ipam/store.ts";
import type { Kernel } from "../kernel/contract.ts";
import { parseCidr } from "../net/cidr.ts";
import { localMac } from "../net/mac.ts";
import { poolWaitMs, reserve } from "./attach.ts";
import { derivedNames } from "./plan.ts";
import { openPolicy } from "./policy/pod-policy.ts";
import { viewNode } from "./rebuild.ts";
import { openGroup } from "./plan.ts";
import { repairOps } from "./repair.ts";

test("what ADD has made on the node needs no repair", async () => {
  const { machine, core, add } = await startFakeNode();
  await add("c1");
  const [held] = core.pool.all();
  assert.ok(held !== undefined && isWired(held.attachment));
  assert.deepEqual(
    repairOps(held.attachment, await viewNode(machine.kernel), {
      sources: machine.uplink.addresses,
      group: openGroup,
    }),
    [],
  );
});

test("a link has its class from the first moment on, and what was heard of meanwhile before ADD answers", async () => {
  const groupsSeen: (number | undefined)[] = [];
  const listening = (kernel: Kernel): Kernel => ({
    ...kernel,
    node: {
      ...kernel.node,
      apply: (ops) => {
        for (const op of ops) if (op.op === "link.addVeth" || op.op === "link.set") groupsSeen.push(op.group);
        return kernel.node.apply(ops);
      },
    },
  });
  const policy = {
    enter: async () => ({ group: 137, listed: Promise.resolve() }),
    settle: async () => 140,
    groupOf: () => 140,
    isUnguarded: () => false,
    linkRepaired: () => {},
    untilKnown: async () => {},
  };
  const { machine, core, add } = await startFakeNode({ wrap: listening, policy });
  await add("c1");
  const [held] = core.pool.all();
  const index = present(held?.attachment.wire, "wire").hostIndex;
  assert.equal((await machine.kernel.node.link(index))?.group, 140);
  assert.deepEqual(
    groupsSeen.filter((group) => group !== undefined),
    [137, 140],
  );
});

test("the class that was heard of goes to the link before anything else is awaited: the next may come meanwhile", async () => {
  const calls: string[] = [];
  const listening = (kernel: Kernel): Kernel => ({
    ...kernel,
    node: {
      ...kernel.node,
      apply: (ops) => {
        for (const op of ops) if (op.op === "link.set" && op.group !== undefined) calls.push(`group ${op.group}`);
        return kernel.node.apply(ops);
      },
    },
    guard: {
      ...kernel.guard,
      admit: (entries) => {
        if (entries.some(({ address }) => address === "any")) calls.push("out of the guard");
        return kernel.guard.admit(entries);
      },
    },
  });
  const policy = { ...openPolicy, settle: async () => 140, isUnguarded: () => true };
  const { add } = await startFakeNode({ wrap: listening, policy });
  await add("c1");
  assert.deepEqual(calls, ["group 140", "out of the guard"]);
});

/** ADD on a node in memory takes a few of these. */
const notBeforeMs = 50;

test("ADD answers when its pod is listed, and is taken back where it cannot be", async () => {
  for (const refused of [undefined, new Fault("kernel-refused", "not this one")]) {
    const listing = Promise.withResolvers<void>();
    const policy = { ...openPolicy, enter: async () => ({ group: openGroup, listed: listing.promise }) };
    const { machine, core, call, links } = await startFakeNode({ policy });
    machine.addNetns("c1");
    const answered = call("ADD", "c1");
    await until("the link is made meanwhile", async () => (await links()).length > 0);
    assert.equal(await within(notBeforeMs, answered), false);
    assert.equal(core.pool.all()[0]?.state, "planned");
    if (refused === undefined) listing.resolve();
    else listing.reject(refused);
    assert.equal((await answered).code, refused === undefined ? 0 : 102);
    assert.equal((await links()).length, refused === undefined ? 1 : 0);
    assert.equal(core.pool.all().length, refused === undefined ? 1 : 0);
  }
});

test("where it is not known what judges a pod, ADD fails and leaves nothing", async () => {
  const refuse = async (): Promise<never> => {
    throw new Fault("policy-unknown", "nobody knows");
  };
  const policy = {
    enter: refuse,
    settle: refuse,
    groupOf: () => undefined,
    isUnguarded: () => false,
    linkRepaired: () => {},
    untilKnown: async () => {},
  };
  const { machine, core, call, links } = await startFakeNode({ policy });
  machine.addNetns("c1");
  assert.equal((await call("ADD", "c1")).code, 11);
  assert.deepEqual(await links(), []);
  assert.deepEqual(core.pool.all(), []);
});

test("once both ends are up the kernel is asked whether the node's carries: it sends from then on", async () => {
  const calls: string[] = [];
  const listening = (kernel: Kernel): Kernel => ({
    ...kernel,
    node: {
      ...kernel.node,
      carries: (ref) => {
        calls.push(`asked for ${ref}`);
        return kernel.node.carries(ref);
      },
    },
    openNetns: (path) => {
      const netns = kernel.openNetns(path);
      const { apply } = netns;
      return Object.assign(netns, {
        apply: (ops: Parameters<typeof apply>[0]) => {
          calls.push("the pod's end up");
          return apply(ops);
        },
      });
    },
  });
  const { core, add } = await startFakeNode({ wrap: listening });
  await add("c1");
  assert.deepEqual(calls, ["the pod's end up", `asked for ${core.pool.all()[0]?.attachment.wire?.hostIndex}`]);
});

const refusal = new Fault("kernel-refused", "not this one");

test("an ADD that fails costs no address its rest", async () => {
  const { machine, core, call } = await startFakeNode();
  machine.addNetns("c1");
  machine.kernel.failNext("guard.admit", refusal);
  assert.equal((await call("ADD", "c1")).code, 102);
  assert.deepEqual(
    core.pool.usage().map(({ live, cooling }) => [live, cooling]),
    [[0, 0]],
  );
});

test("a stranger's link under the name that ADD needs stays as it is", async () => {
  const { machine, call, links } = await startFakeNode();
  const { node } = machine.kernel;
  const name = derivedNames({ network: "fairlead", containerId: "c1", ifname: "eth0" }).hostLink;
  const mac = localMac(Buffer.from("a stranger's"));
  const peer = { netns: node, name: "peer", mac, mtu: 1500 };
  await node.apply([{ op: "link.addVeth", name, mac, mtu: 1500, group: 0, peer }]);
  const before = await node.link(name);
  machine.addNetns("c1");
  assert.equal((await call("ADD", "c1")).code, 104);
  assert.deepEqual(await node.link(name), before);
  assert.deepEqual((await links()).toSorted(), [name, "peer"]);
});

/** A pool whose one address cools, and a way to ask it for one; asking ends with the test. */
function exhausted(t: TestContext, coolMs: number): { pool: Pool; ask: () => Promise<Attachment> } {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const pool = openPool({ blocks: [present(parseCidr("10.4.1.8/32"), "block")], store: createMemoryStore(), coolMs });
  const first = testAttachment({ containerId: "first" });
  pool.reserve(first);
  pool.release(first, { cool: true });
  const deps = { pool, signal: stop.signal, policy: openPolicy, onDoomed: () => pool.free(pool.cooled()) };
  return { pool, ask: () => reserve(testAttachment({ containerId: "next" }), { addresses: [], ranges: [] }, deps) };
}

test("who finds the pool empty waits for an address that is about to become free", async (t) => {
  const { ask } = exhausted(t, 50);
  assert.deepEqual((await ask()).addresses, ["10.4.1.8"]);
});

test("who finds the pool empty waits for nothing that comes too late", { timeout: 5000 }, async (t) => {
  const { ask } = exhausted(t, poolWaitMs + 1000);
  await assert.rejects(ask(), (error) => isFault(error, "pool-empty") && /0 in use, 1 cooling/.test(error.message));
});

test("who finds the pool empty of living pods alone hears it at once", { timeout: 5000 }, async (t) => {
  const { pool, ask } = exhausted(t, 0);
  pool.free(pool.cooled());
  pool.reserve(testAttachment({ containerId: "other" }));
  await assert.rejects(ask(), (error) => isFault(error, "pool-empty") && /1 in use, 0 cooling/.test(error.message));
});
