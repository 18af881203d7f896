// Conformance 9: STATUS: silent while the node can serve, 50 while it cannot, 51 when its pods may be hurt; it is advice, and stops nobody.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import type { Kernel, Op } from "../../src/kernel/contract.ts";
import { until } from "../until.ts";
import { reachable, stateOf } from "./eyes.ts";
import { fileScope, type Scope, startNode, type TestNode } from "./node.ts";
import { errorOf, type Outcome, refused, resultOf, silent } from "./runtime.ts";

const node = await startNode(fileScope);

/** Asks until STATUS gives `code`, and gives that answer. */
async function untilStatus({ call }: TestNode, code: number): Promise<Outcome> {
  let last = await call("STATUS");
  await until(`STATUS gives ${code}`, async () => {
    last = await call("STATUS");
    return last.exitCode !== 0 && errorOf(last).code === code;
  });
  return last;
}

/** A node whose kernel refuses to route the node's own blocks while `broken` says so. */
async function startUnroutable(t: Scope): Promise<{ node: TestNode; state: { broken: boolean } }> {
  const state = { broken: false };
  const routesBlock = (op: Op): boolean => op.op.startsWith("route.") && "route" in op && op.route.to.endsWith("/24");
  const wrap = (kernel: Kernel): Kernel => ({
    ...kernel,
    node: Object.assign(Object.create(kernel.node) as Kernel["node"], {
      apply: async (ops: readonly Op[]) => {
        if (state.broken && ops.some(routesBlock)) throw new Fault("kernel-refused", "planned: no route to a block");
        return kernel.node.apply(ops);
      },
    }),
  });
  return { node: await startNode(t, { blocks: ["10.4.1.0/24"], wrap }), state };
}

test("9.1 a healthy node answers silently within 50 ms", async () => {
  // Other tests run beside this one: what one call can do, others can on a node of its own.
  await until("a call takes less than 50 ms", async () => {
    const outcome = await node.call("STATUS");
    silent(outcome);
    return outcome.tookMs < 50;
  });
});

test("9.2 it changes nothing", async (t) => {
  const own = await startNode(t);
  const before = stateOf(own.ns);
  silent(await own.call("STATUS"));
  assert.deepEqual(stateOf(own.ns), before);
});

test("9.3 many at once, while pods come and go, are all silent", async (t) => {
  const pods = Array.from({ length: 10 }, () => node.pod(t));
  const asked = Promise.all(Array.from({ length: 40 }, () => node.call("STATUS")));
  for (const outcome of await node.each("ADD", pods)) resultOf(outcome);
  for (const outcome of await node.each("DEL", pods)) silent(outcome);
  for (const outcome of await asked) silent(outcome);
});

test("9.4 without an agent it is 50, and says what is down and where to look", async (t) => {
  const other = await startNode(t);
  await other.agent.stop();
  refused(await other.call("STATUS"), 50, "agent", other.agent.config.paths.socket, "log");
  await other.agent.start();
  silent(await other.call("STATUS"));
});

test("9.5 an agent that starts and does not serve yet is 50", async (t) => {
  const held: { until?: Promise<void> } = {};
  const other = await startNode(t, {
    wrap: (kernel) => ({
      ...kernel,
      guard: {
        ...kernel.guard,
        ensure: async (entries) => {
          await held.until;
          return kernel.guard.ensure(entries);
        },
      },
    }),
  });
  await other.agent.stop();
  const { promise, resolve } = Promise.withResolvers<void>();
  held.until = promise;
  const started = other.agent.start();
  refused(await other.call("STATUS"), 50);
  resolve();
  await started;
  silent(await other.call("STATUS"));
});

test("9.6 a node without a free address is healthy unless it is told otherwise", async (t) => {
  const small = await startNode(t, { blocks: ["10.4.1.0/30"] });
  for (let times = 0; times < 2; times += 1) await small.add(small.pod(t));
  refused(await small.call("ADD", small.pod(t)), 11);
  silent(await small.call("STATUS"));
});

test("9.7 with status: strict a node without a free address is 50, and one with an address is not", async (t) => {
  const small = await startNode(t, { blocks: ["10.4.1.0/30"], settings: { status: "strict" } });
  silent(await small.call("STATUS"));
  await small.add(small.pod(t));
  silent(await small.call("STATUS"));
  await small.add(small.pod(t));
  refused(await small.call("STATUS"), 50, /address/);
});

test("9.8 with status: strict one exhausted family is enough for 50", async (t) => {
  const small = await startNode(t, {
    blocks: ["10.4.1.0/30", "fd00:10:4:1::/64"],
    settings: { status: "strict" },
  });
  for (let times = 0; times < 2; times += 1) await small.add(small.pod(t));
  refused(await small.call("STATUS"), 50, "IPv4");
});

test("9.9 with status: strict an address that rests is not free", async (t) => {
  const small = await startNode(t, { blocks: ["10.4.1.0/30"], settings: { status: "strict" } });
  const pods = [small.pod(t), small.pod(t)] as const;
  for (const pod of pods) await small.add(pod);
  silent(await small.call("DEL", pods[0]));
  refused(await small.call("STATUS"), 50);
});

test("9.10 a full node that says 50 still serves CHECK and DEL", async (t) => {
  const small = await startNode(t, { blocks: ["10.4.1.0/30"], settings: { status: "strict" } });
  const pods = [small.pod(t), small.pod(t)] as const;
  const [prevResult] = (await small.each("ADD", pods)).map(resultOf);
  refused(await small.call("STATUS"), 50);
  silent(await small.call("CHECK", pods[0], { conf: { prevResult } }));
  for (const outcome of await small.each("DEL", pods)) silent(outcome);
});

test("9.11 a filter table that another program holds is 51, since it cannot be put right", async (t) => {
  const other = await startNode(t);
  await other.add(other.pod(t));
  // A table with an owner can be changed by nobody else while the owner lives (nft(8), "flags owner").
  const owner = spawn("ip", ["netns", "exec", other.ns.name, "nft", "-i"], { stdio: ["pipe", "ignore", "ignore"] });
  const ended = once(owner, "close");
  t.after(async () => {
    owner.kill("SIGKILL");
    await ended;
  });
  owner.stdin.write("delete table inet fairlead; add table inet fairlead { flags owner; }\n");
  await until("the table has another owner", () => other.ns.run("nft", "list", "ruleset").includes("flags owner"));
  refused(await untilStatus(other, 51), 51, /guard|table|ruleset/);
  owner.stdin.end();
  await ended;
  await until("STATUS is silent again", async () => (await other.call("STATUS")).exitCode === 0);
});

test("9.12 a filter table that was only deleted is put right, and no error", async (t) => {
  const other = await startNode(t);
  const pod = other.pod(t);
  const result = await other.add(pod);
  other.ns.run("nft", "delete", "table", "inet", "fairlead");
  await until("STATUS is silent and the table is back", async () => {
    const { exitCode } = await other.call("STATUS");
    return exitCode === 0 && other.ns.run("nft", "list", "tables").includes("inet fairlead");
  });
  reachable(other, pod.ns, result);
});

test("9.13 a node route that is missing and cannot be put right is 51", async (t) => {
  const { node: other, state } = await startUnroutable(t);
  state.broken = true;
  other.ns.run("ip", "route", "delete", "unreachable", "10.4.1.0/24");
  refused(await untilStatus(other, 51), 51, /route/);
  state.broken = false;
  await until("STATUS is silent again", async () => (await other.call("STATUS")).exitCode === 0);
});

test("9.14 while STATUS says 51, ADD, CHECK and DEL work as far as they can", async (t) => {
  const { node: other, state } = await startUnroutable(t);
  other.agent.audit.expectDamage(/route unreachable .* is missing/, "an agent that cannot put it right");
  state.broken = true;
  other.ns.run("ip", "route", "delete", "unreachable", "10.4.1.0/24");
  await untilStatus(other, 51);
  const pod = other.pod(t);
  const prevResult = await other.add(pod);
  reachable(other, pod.ns, prevResult);
  silent(await other.call("CHECK", pod, { conf: { prevResult } }));
  silent(await other.call("DEL", pod, { conf: { prevResult } }));
});
