// traffic.c by its typed face, in a namespace: it counts what passes, tells when nothing does any more, and says what it cannot do.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { isFault } from "../src/base/fault.ts";
import { makeNetns, type TestNetns } from "../test/netns.ts";
import { nowMs, startCaller, startKnocker, startTrafficServer, trafficKinds } from "./traffic.ts";

const project = fileURLToPath(new URL("..", import.meta.url));
mkdirSync(`${project}build`, { recursive: true });
execFileSync("make", ["-s", "build/bench-traffic"], { cwd: project });

/** All that a program of a bench takes of its lab. */
const lab = { env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } };

const port = 7000;

async function served(t: TestContext): Promise<TestNetns> {
  const netns = makeNetns(t);
  netns.run("ip", "link", "set", "lo", "up");
  const server = await startTrafficServer(lab, netns.name, port);
  t.after(() => server.end());
  return netns;
}

void test("connections, round trips and bytes are counted, by both families", async (t) => {
  const netns = await served(t);
  const caller = await startCaller(lab, netns.name);
  t.after(() => caller.end());
  for (const address of ["127.0.0.1", "::1"]) {
    const rates = new Map<string, number>();
    for (const kind of trafficKinds) rates.set(kind, await caller.rate(kind, address, port, 50));
    const [crr = 0, rr = 0, stream = 0] = [rates.get("crr"), rates.get("rr"), rates.get("stream")];
    assert.ok(crr > 100 && rr > crr && stream > rr, `${address}: ${[crr, rr, stream].join(" ")}`);
  }
  await assert.rejects(caller.rate("rr", "127.0.0.1", port + 1, 50), (error) => isFault(error, "lab-failed"));
});

void test("what knocks tells when it is let in, and when the last answer came before it was not", async (t) => {
  const netns = await served(t);
  const nft = (...words: string[]): string => netns.run("nft", ...words);
  nft("add table inet t; add chain inet t in { type filter hook input priority 0; }");
  nft("add rule inet t in udp dport", String(port), "ip daddr 127.0.0.2 drop");
  const wish = { addresses: ["127.0.0.1", "127.0.0.2"], port, everyMs: 1 };
  const startedMs = nowMs();
  const knocker = await startKnocker(lab, netns.name, wish);
  t.after(() => knocker.end());
  const first = await knocker.next();
  assert.deepEqual([first.address, first.change], ["127.0.0.1", "up"]);
  assert.ok(first.atMs >= startedMs && first.atMs <= nowMs());
  const openedMs = nowMs();
  nft("flush", "chain", "inet", "t", "in");
  const second = await knocker.next();
  assert.deepEqual([second.address, second.change], ["127.0.0.2", "up"]);
  assert.ok(second.atMs >= openedMs);
  nft("add rule inet t in meta l4proto udp drop"); // answers too: one may be under way
  const closedMs = nowMs();
  for (const _ of wish.addresses) {
    const { change, atMs } = await knocker.next();
    assert.equal(change, "down");
    assert.ok(atMs <= closedMs, "the last answer came before it was closed");
  }
});

void test("what it does not understand ends it with 2 and a sentence", () => {
  const run = (...args: string[]) =>
    spawnSync(`${project}build/bench-traffic`, args, { ...lab, encoding: "utf8", input: "" });
  const wrong = [[], ["serve"], ["serve", "70000"], ["knock", "1", "0", "::1"], ["knock", "1", "1", "nobody"]];
  for (const args of wrong) {
    const { status, stderr } = run(...args);
    assert.equal(status, 2, args.join(" "));
    assert.match(stderr, /^bench traffic: ./);
  }
});
