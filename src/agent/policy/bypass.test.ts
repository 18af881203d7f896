// Looking for ways round policy, on a node in memory: what is told while it is there, and what stands where the kernel may not be asked.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startFakeNode } from "../../../test/model/fake-node.ts";
import { present } from "../../base/assert.ts";
import { silentLog } from "../../base/log.ts";
import { isWired } from "../../ipam/store.ts";
import type { Kernel } from "../../kernel/contract.ts";
import { createBypassLook, lookForBypasses } from "./bypass.ts";

/** A node with one attached pod, and the node's end of its link. */
async function stand() {
  const node = await startFakeNode();
  await node.add("db");
  const { machine, core } = node;
  const { attachment } = present(core.pool.all()[0], "attachment");
  assert.ok(isWired(attachment));
  return { kernel: machine.kernel, pool: core.pool, ...attachment.wire };
}

void test("a program that tcx attached to a pod's link is told while it is there, by a pass too", async () => {
  const { kernel, pool, hostIndex, hostLink } = await stand();
  let nowMs = 0;
  const look = createBypassLook({ kernel, pool, log: silentLog(), clock: () => nowMs });
  const told = async (): Promise<(string | undefined)[]> => {
    nowMs += 60_000;
    const [finding] = await lookForBypasses(kernel, pool);
    const seen = await look(await kernel.node.links());
    return [finding?.says, typeof seen === "object" ? seen.why : seen];
  };
  kernel.attachTcx(1); // the loopback is no pod's
  assert.deepEqual(await told(), [undefined, "none"]);
  const takeOff = kernel.attachTcx(hostIndex);
  const says = `eBPF programs (tcx) are on pods' links, and can send packets past what judges them: ${hostLink}`;
  assert.deepEqual(await told(), [says, says]);
  takeOff();
  assert.deepEqual(await told(), [undefined, "none"]);
});

void test("where programs that tcx attaches may not be asked for, all else is told", async () => {
  const { kernel: real, pool, hostIndex } = await stand();
  const kernel: Kernel = {
    ...real,
    node: { ...real.node, programs: async () => [hostIndex], tcxPrograms: async () => undefined },
  };
  const says = (await lookForBypasses(kernel, pool)).map((finding) => finding.says);
  assert.equal(says.length, 1);
  assert.match(says[0] ?? "", /^eBPF programs \(tc\) are on pods' links/);
});

void test("before anybody could look nothing is said; a look that fails leaves what was seen; no other program's rules are asked for", async () => {
  const { kernel: real, pool, hostIndex } = await stand();
  let nowMs = 0;
  const asked = { fails: true };
  const kernel: Kernel = {
    ...real,
    node: {
      ...real.node,
      programs: () => (asked.fails ? Promise.reject(new Error("not now")) : Promise.resolve([hostIndex])),
    },
    untrackedRules: () => Promise.reject(new Error("they change all the time")),
  };
  const look = createBypassLook({ kernel, pool, log: silentLog(), clock: () => nowMs });
  const links = await kernel.node.links();
  assert.equal(await look(links), "not known");
  asked.fails = false;
  assert.equal(await look(links), "not known", "not at once");
  nowMs += 1_000;
  const seen = await look(links);
  assert.match(typeof seen === "object" ? seen.why : seen, /^eBPF programs \(tc\)/);
  nowMs += 30_000;
  asked.fails = true;
  assert.deepEqual(await look(links), seen);
});
