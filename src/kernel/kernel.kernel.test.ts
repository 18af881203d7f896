// The real kernel under the kernel contract, in namespaces of its own; and that closing it leaves no thread.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { silentLog } from "../base/log.ts";
import type { KernelUnderTest } from "../../test/kernel-stage.ts";
import { testKernel } from "../../test/kernel.contract.ts";
import { type TestNetns, makeNetns } from "../../test/netns.ts";
import { until } from "../../test/until.ts";
import { openKernel } from "./kernel.ts";

async function make(t: TestContext): Promise<KernelUnderTest> {
  const made = new Map<string, TestNetns>();
  const podNetns = (): string => {
    const netns = makeNetns(t);
    made.set(netns.path, netns);
    return netns.path;
  };
  const kernel = openKernel({ nodeNetns: podNetns(), log: silentLog() });
  t.after(() => kernel.close());
  return { kernel, podNetns, removeNetns: (path) => made.get(path)?.remove() };
}

testKernel("real kernel", make);

/** Names of this process's threads that are the addon's. */
function ownThreads(): string[] {
  const names = readdirSync("/proc/self/task").map((id) => readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim());
  return names.filter((name) => name.startsWith("fl-"));
}

void test("a closed kernel leaves no thread and no descriptor behind", async (t) => {
  const descriptors = readdirSync("/proc/self/fd").length;
  const { kernel } = await make(t);
  await Promise.all([kernel.node.links(), kernel.guard.list()]);
  assert.equal(ownThreads().length, 2);
  kernel.close();
  await until("the threads have ended", () => ownThreads().length === 0);
  assert.equal(readdirSync("/proc/self/fd").length, descriptors);
});
