// Conformance 16, first part: the plugin is killed at every step, or overtaken: nothing leaks, and the next calls work.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../until.ts";
import { bare, hasLink, reachable } from "./eyes.ts";
import { recorded, type Scope, startNode, type TestNode, waitingCalls } from "./node.ts";
import { resultOf, silent } from "./runtime.ts";

/** System calls of one run of the plugin, each name with how often it was made. */
async function systemCalls(t: Scope, node: TestNode): Promise<Map<string, number>> {
  const directory = mkdtempSync(join(tmpdir(), "fltest-strace-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const trace = join(directory, "trace");
  const pod = node.pod(t);
  resultOf(await node.call("ADD", pod, { around: `exec strace -o ${trace} "$0"` }));
  silent(await node.call("DEL", pod));
  const counts = new Map<string, number>();
  for (const [, name = ""] of readFileSync(trace, "utf8").matchAll(/^(\w+)\(/gm))
    counts.set(name, (counts.get(name) ?? 0) + 1);
  counts.delete("execve");
  return counts;
}

test("16.1 the plugin is killed at each of its system calls in ADD: DEL and ADD work, and nothing leaks", async (t) => {
  const node = await startNode(t);
  const calls = await systemCalls(t, node);
  assert.ok(calls.has("connect") && calls.has("write"), [...calls.keys()].join(" "));
  let killed = 0;
  for (const [name, count] of calls) {
    for (let at = 1; at <= count; at += 1) {
      const pod = node.pod(t);
      const around = `exec strace -o /dev/null -e inject=${name}:signal=KILL:when=${at} "$0"`;
      const { signal, exitCode } = await node.call("ADD", pod, { around, judged: false });
      if (signal === "SIGKILL" || exitCode === 137) killed += 1;
      silent(await node.call("DEL", pod));
      await node.add(pod);
      silent(await node.call("DEL", pod));
    }
  }
  assert.ok(killed >= 10, `${killed} of ${[...calls.values()].reduce((sum, count) => sum + count)} were killed`);
  await bare(node);
  await until("no record is left", async () => (await recorded(node.agent.config.paths.socket)).length === 0);
});

test("16.2 the plugin is killed while the agent works for it: the ADD is taken back by itself", async (t) => {
  const held = gate();
  const node = await startNode(t, held.options);
  const pod = node.pod(t);
  held.close();
  const child = spawn(node.plugin, [], { env: node.env("ADD", pod), stdio: ["pipe", "ignore", "ignore"] });
  child.stdin.end(JSON.stringify(node.conf()));
  await until("the agent works", () => held.waiting() > 0);
  child.kill("SIGKILL");
  await once(child, "close");
  held.open();
  await until("no record is left", async () => (await recorded(node.agent.config.paths.socket)).length === 0);
  await bare(node);
  reachable(node, pod.ns, await node.add(pod));
});

test("16.3 a DEL that comes while ADD of the same attachment runs wins", async (t) => {
  const held = gate();
  const node = await startNode(t, held.options);
  const { socket } = node.agent.config.paths;
  const pod = node.pod(t);
  held.close();
  const added = node.call("ADD", pod);
  await until("the agent works", () => held.waiting() > 0);
  const deleted = node.call("DEL", pod);
  await until("DEL waits", async () => (await waitingCalls(socket)) > 0);
  held.open();
  silent(await deleted);
  await added; // whatever it says
  await bare(node);
  assert.ok(!hasLink(pod.ns, "eth0"));
  assert.deepEqual(await recorded(socket), []);
});

/** A door between agent and kernel through which no filter change passes while it is closed. */
function gate() {
  let closed: PromiseWithResolvers<void> | undefined;
  let waiting = 0;
  return {
    close: () => (closed = Promise.withResolvers()),
    open: () => closed?.resolve(),
    waiting: () => waiting,
    options: {
      wrap: (kernel: ReturnType<TestNode["agent"]["kernel"]>) => ({
        ...kernel,
        guard: {
          ...kernel.guard,
          admit: async (entries: Parameters<typeof kernel.guard.admit>[0]) => {
            waiting += 1;
            await closed?.promise;
            waiting -= 1;
            await kernel.guard.admit(entries);
          },
        },
      }),
    },
  };
}
