// The bench itself on a few pods, without the reference: it measures, it refuses an ADD that did less than it says, and it leaves nothing.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { labDirectory } from "../lab/record.ts";
import { isFault } from "../src/base/fault.ts";
import { parseCidr } from "../src/net/cidr.ts";
import { present } from "../src/base/assert.ts";
import { makeNetns } from "../test/netns.ts";
import { type Plugin, verifyAdd, verifyDel } from "./plugins.ts";
import { blockPods, measure } from "./rounds.ts";

const project = fileURLToPath(new URL("..", import.meta.url));
mkdirSync(`${project}build`, { recursive: true });
execFileSync("make", ["-s", "build/bench-spawn"], { cwd: project });

const lab = "benchtest";

function assertNothingLeft(): void {
  assert.ok(!existsSync(labDirectory(lab)));
  assert.deepEqual(
    readdirSync("/run/netns").filter((name) => name.startsWith(`flab-${lab}-`)),
    [],
  );
}

void test("measures dual stack, each pod once, and removes its lab", async () => {
  const blocks: number[] = [];
  const result = await measure({
    name: lab,
    families: [4, 6],
    blocks: 2,
    referenceBlocks: 0,
    signal: new AbortController().signal,
    onBlock: (block) => blocks.push(block),
  });
  assert.deepEqual(blocks, [-1, 0, 1]);
  const { add, del, gone } = result.ours;
  assert.deepEqual([add.length, del.length, gone.length], [2 * blockPods, 2 * blockPods, 2]);
  assert.deepEqual([result.bare.length, result.version.length], [2 * blockPods, 2 * blockPods]);
  for (const ms of [...add, ...del, ...gone, ...result.bare, ...result.version, result.first]) {
    assert.ok(ms > 0.05 && ms < 5000, `${ms} ms`);
  }
  for (const [block, ms] of gone.entries()) {
    const ofBlock = del.slice(block * blockPods, (block + 1) * blockPods);
    assert.ok(ms > ofBlock.reduce((sum, one) => sum + one, 0), "a block is gone after all of its DELs");
  }
  assert.deepEqual(result.reference, { add: [], del: [], gone: [] });
  assertNothingLeft();
});

void test("an abort ends it and still removes its lab", async () => {
  const stop = new AbortController();
  const run = measure({
    name: lab,
    families: [4],
    blocks: 100,
    referenceBlocks: 0,
    signal: stop.signal,
    onBlock: () => stop.abort(new Error("enough")),
  });
  await assert.rejects(run, /enough/);
  assertNothingLeft();
});

void test("an ADD counts only if the pod has what the answer says", async (t) => {
  const pod = makeNetns(t);
  pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other");
  pod.run("ip", "link", "set", "other", "up");
  pod.run("ip", "link", "set", "eth0", "up");
  pod.run("ip", "address", "add", "10.4.1.7/32", "dev", "eth0");
  const block = present(parseCidr("10.4.1.0/24"), "a block");
  const plugin: Pick<Plugin, "name" | "node"> = {
    name: "ours",
    node: { name: "n", netns: pod.name, blocks: { 4: block } },
  };
  const verdict = (exit: number, ...addresses: string[]): Promise<void> =>
    verifyAdd(
      plugin,
      { netns: pod.name, containerId: "c" },
      { exit, ms: 1, stdout: JSON.stringify({ ips: addresses.map((address) => ({ address })) }) },
      { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    );
  const refused = (promise: Promise<void>, words: RegExp): Promise<void> =>
    assert.rejects(promise, (error) => isFault(error, "lab-failed") && words.test(error.message));
  await verdict(0, "10.4.1.7/32");
  await refused(verdict(1, "10.4.1.7/32"), /exit 1/);
  await refused(verdict(0), /not one address/);
  await refused(verdict(0, "10.4.2.7/32"), /not one address/);
  await refused(verdict(0, "10.4.1.7/32", "10.4.1.8/32"), /not one address/);
  await refused(verdict(0, "10.4.1.8/32"), /the pod's link has 10\.4\.1\.7/);
  await refused(verdict(0, "nonsense"), /no address/);
  pod.run("ip", "link", "set", "eth0", "down");
  await refused(verdict(0, "10.4.1.7/32"), /DOWN/);
});

void test("a DEL counts only if it succeeds in silence", () => {
  const plugin = { name: "ours" } as const;
  const pod = { netns: "n", containerId: "c" };
  verifyDel(plugin, pod, { exit: 0, ms: 1, stdout: "" });
  assert.throws(() => verifyDel(plugin, pod, { exit: 1, ms: 1, stdout: "" }), /exit 1/);
  assert.throws(() => verifyDel(plugin, pod, { exit: 0, ms: 1, stdout: "{}" }), /exit 0: \{\}/);
});
