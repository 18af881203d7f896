// The real kernel under the kernel contract, in namespaces of its own; and that closing it leaves no thread.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { present } from "../base/assert.ts";
import { silentLog } from "../base/log.ts";
import { openTracker } from "../../test/conntrack-entries.ts";
import type { KernelUnderTest } from "../../test/kernel-stage.ts";
import { testKernel } from "../../test/kernel.contract.ts";
import { type TestNetns, makeNetns } from "../../test/netns.ts";
import { attachTcx } from "../../test/tcx.ts";
import { threadNames } from "../../test/threads.ts";
import { until } from "../../test/until.ts";
import { openKernel } from "./kernel.ts";

/** More events than may wait for the event loop (1,024). */
const manyRules = "for n in $(seq 4000); do echo rule add priority $((1000 + n)) lookup 200; done | ip -batch -";

async function make(t: TestContext): Promise<KernelUnderTest> {
  const made = new Map<string, TestNetns>();
  const podNetns = (): string => {
    const netns = makeNetns(t);
    made.set(netns.path, netns);
    return netns.path;
  };
  const node = podNetns();
  const kernel = openKernel({ nodeNetns: node, log: silentLog() });
  t.after(() => kernel.close());
  const run = (program: string, ...args: string[]) => made.get(node)?.run(program, ...args);
  return {
    kernel,
    podNetns,
    removeNetns: (path) => made.get(path)?.remove(),
    track: openTracker(t, node),
    disturbNftables: () => run("nft", "add table inet other"),
    damageMasquerade: (how) => run("nft", `${how === "table deleted" ? "delete" : "flush"} table inet fairlead-masq`),
    damagePolicy: (how) => run("nft", `${how === "table deleted" ? "delete" : "flush"} table inet fairlead-policy`),
    addForwardChain: ({ family, table, chain, policy }) =>
      run(
        "nft",
        `table ${family} ${table} {
          chain ${chain} { type filter hook forward priority filter; policy ${policy}; }
          chain elsewhere { type filter hook input priority filter; policy drop; }
          chain plain { accept; }
        }`,
      ),
    logPacket: (outcome, destination, port) => {
      const prefix = outcome === "denied" ? "deny " : "audit ";
      run("ip", "link", "set", "lo", "up");
      run(
        "nft",
        `add table inet told; delete table inet told; table inet told {
          chain out { type filter hook output priority filter; udp dport ${port} log prefix "${prefix}" group 5; }
        }`,
      );
      run("bash", "-c", `echo hello >/dev/udp/${destination}/${port}`);
    },
    attachTcx: (link, direction) => attachTcx(t, present(made.get(node), "the node"), link, direction),
    loseChanges: () => run("sh", "-c", manyRules), // this waits, and so does the event loop
  };
}

testKernel("real kernel", make);

const ownThreads = (): string[] => threadNames().filter((name) => name.startsWith("fl-"));

void test("a call counts for its thread until it has ended", async (t) => {
  const { kernel } = await make(t);
  const all = Promise.all([kernel.node.links(), kernel.node.readSysctls(["ipv4/ip_forward"]), kernel.guard.list()]);
  assert.deepEqual(kernel.callsUnderWay(), { route: 2, nftables: 0, removal: 0 }); // the guard asks in its turn
  await all;
  assert.deepEqual(kernel.callsUnderWay(), { route: 0, nftables: 0, removal: 0 });
});

void test("a closed kernel leaves no thread and no descriptor behind", async (t) => {
  const descriptors = readdirSync("/proc/self/fd").length;
  const { kernel } = await make(t);
  await Promise.all([kernel.node.links(), kernel.guard.list()]);
  assert.equal(ownThreads().length, 2);
  kernel.close();
  await until("the threads have ended", () => ownThreads().length === 0);
  assert.equal(readdirSync("/proc/self/fd").length, descriptors);
});
