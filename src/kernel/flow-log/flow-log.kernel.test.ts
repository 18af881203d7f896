// The packet log with real packets: what policy denies is told, by both families and every protocol; floods are bounded and counted.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { type TestContext, test } from "node:test";
import { emptyRuleset, layer, ruleset } from "../../../test/policy-rulesets.ts";
import { at, makePolicyStage, pods } from "../../../test/policy-stage.ts";
import type { TestNetns } from "../../../test/netns.ts";
import { faultOf, ip } from "../../../test/kernel-stage.ts";
import { until } from "../../../test/until.ts";
import { loadAddon } from "../addon.ts";
import type { Logged, LoggedPacket } from "../flow-log-contract.ts";
import { loggedOfPair, loggedWithoutShare, logSharesMax, logSharesName } from "../nftables/policy-base.ts";
import { createFlowLog, type OwnedFlowLog } from "./flow-log.ts";

function openLog(t: TestContext, node: TestNetns): OwnedFlowLog {
  const addon = loadAddon();
  const netns = addon.openNetns(node.path);
  const log = createFlowLog({ addon, netns, mustBeOpen: () => undefined });
  t.after(() => {
    log.close();
    addon.close(netns);
  });
  return log;
}

const indexOf = (node: TestNetns, link: string): number =>
  Number(/^(\d+):/.exec(node.run("ip", "-o", "link", "show", link))?.[1] ?? assert.fail(link));

const closed = ruleset({
  classes: { 101: { egress: ["shut"] }, 102: { egress: ["tried"] } },
  layers: [layer("shut", {}), layer("tried", { otherwise: "audit" })],
});

const textOf = ({ outcome, head }: LoggedPacket): string =>
  `${outcome} ${head.source} ${head.destination} ${head.protocol} ${head.destinationPort ?? JSON.stringify(head.icmp)}`;

void test("what policy denies or audits is told: TCP, UDP and ICMP of both families, with the links", async (t) => {
  const { node, policy, setClass, expect } = await makePolicyStage(t);
  const told: LoggedPacket[] = [];
  const stop = await openLog(t, node).packets((one) => {
    if (one.what === "packet") told.push(one);
  });
  await policy.ensure(closed);
  setClass("one", 101);
  setClass("two", 102);
  await expect({
    "one tcp outside 8080": "denied",
    "one udp three 5432": "denied",
    "one ping outside": "denied",
    "two udp outside 9090": "passes",
  });
  const wanted = ([4, 6] as const).flatMap((family) => [
    `denied ${at.one[family]} ${at.outside[family]} 6 8080`,
    `denied ${at.one[family]} ${at.three[family]} 17 5432`,
    `denied ${at.one[family]} ${at.outside[family]} ${family === 4 ? 1 : 58} {"type":${family === 4 ? 8 : 128},"code":0}`,
    `audited ${at.two[family]} ${at.outside[family]} 17 9090`,
  ]);
  await until("all of them were told", () => wanted.every((text) => told.some((one) => textOf(one) === text)));
  assert.deepEqual(new Set(told.map(textOf)), new Set(wanted));
  const [one, three, eth0] = [pods.one, pods.three, "eth0"].map((link) => indexOf(node, link));
  for (const { inLink, outLink, head } of told.filter(({ outcome }) => outcome === "denied")) {
    assert.deepEqual([inLink, outLink], [one, head.protocol === 17 ? three : eth0]);
  }
  stop();
  const before = told.length;
  await expect({ "one tcp outside 8080": "denied" });
  assert.equal(told.length, before, "nothing after it was stopped");
});

void test("one listens at a time; another program's group is told as taken, and is taken when it is free again", async (t) => {
  const { node } = await makePolicyStage(t);
  const [log, other] = [openLog(t, node), openLog(t, node)];
  const stop = await log.packets(() => undefined);
  await assert.rejects(
    log.packets(() => undefined),
    faultOf("kernel-busy"),
  );
  await assert.rejects(
    other.packets(() => undefined),
    (error: unknown) => {
      assert.ok(faultOf("kernel-busy")(error), String(error));
      assert.match(String(error), /another program has nflog group 5/);
      return true;
    },
  );
  stop();
  const again = await other.packets(() => undefined);
  again();
});

/** Packets of one flood. */
const floodLen = 200_000;
/** As fast as one process can, so many packets. */
const flood = (address: string, count = floodLen): string => `
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(${count}):
    try: sock.sendto(b"x", ("${address}", 9))
    except OSError: pass`;

void test("a flood of denied packets costs what the limit allows, and every packet that was logged is told or counted as lost", async (t) => {
  const { node, podNetns, policy, setClass, counted } = await makePolicyStage(t);
  const told: Logged[] = [];
  await openLog(t, node).packets((one) => told.push(one));
  await policy.ensure(closed);
  setClass("one", 101);
  const before = process.cpuUsage();
  const startedMs = performance.now();
  podNetns.one.run("python3", "-c", flood(at.outside[4])); // the event loop is blocked meanwhile
  const tookMs = performance.now() - startedMs;
  const isFull = (): boolean => told.length > 50;
  await until("the log was told", isFull);
  const { user, system } = process.cpuUsage(before);
  const packets = told.filter(({ what }) => what === "packet").length;
  const lost = told.reduce((sum, one) => sum + (one.what === "lost" ? one.packets : 0), 0);
  t.diagnostic(
    `${counted("shut.deny")} denied in ${Math.round(tookMs)} ms: ${packets} told, ${lost} lost, ${(user + system) / 1000} ms of processor`,
  );
  assert.ok(counted("shut.deny") > floodLen / 2);
  // What one pair of links may have at once, then so many a second.
  const { burst, perSecond } = loggedOfPair;
  assert.ok(packets + lost <= burst + perSecond * (1 + tookMs / 1000), `${packets} told, ${lost} lost`);
  assert.ok(packets + lost >= burst);
  assert.ok(!told.some(({ what }) => what === "unread"));
  assert.ok(user + system < 500_000, `${user + system} us`);
});

void test("a pod that floods does not hide what others are denied; what packets leave in the table is no damage", async (t) => {
  const { node, podNetns, policy, setClass, expect } = await makePolicyStage(t);
  const told: string[] = [];
  await openLog(t, node).packets((one) => {
    if (one.what === "packet") told.push(`${one.head.source} ${one.head.protocol}`);
  });
  await policy.ensure(closed);
  setClass("one", 101);
  setClass("three", 101);
  const flooding = spawn("ip", ["netns", "exec", podNetns.one.name, "python3", "-c", flood(at.outside[4], 1e9)]);
  t.after(() => flooding.kill("SIGKILL"));
  await until("the flood has had its share", () => told.length >= loggedOfPair.burst);
  await expect({ "three tcp outside 8080": "denied" });
  await until("the other's packets were told", () =>
    [at.three[4], at.three[6]].every((address) => told.includes(`${address} 6`)),
  );
  assert.equal(flooding.exitCode, null, "it still floods");
  flooding.kill("SIGKILL");
  assert.equal(await policy.ensure(closed), false);
  assert.match(
    node.run("nft", "list", "set", "inet", "fairlead-policy", "log_shares"),
    /"fl1" \. "eth0" (limit|expires|timeout)/,
  );
});

/** So many other pairs of links as the set of shares has room for, which stay for longer than the test. */
function fillShares(node: TestNetns): void {
  const table = ["inet", "fairlead-policy", logSharesName] as const;
  const taken = (node.run("nft", "list", "set", ...table).match(/" \. "/g) ?? []).length;
  const pairs = Array.from({ length: logSharesMax - taken }, (_, index) => `"x${index}" . "y" timeout 1h`);
  node.run("nft", `add element ${table.join(" ")} { ${pairs.join(", ")} }`);
  assert.throws(
    () => node.run("nft", `add element ${table.join(" ")} { "x" . "y" }`),
    /[Tt]oo many|File table overflow/,
  );
}

void test("where no share is left what pods are denied is told all the same, and what is beyond a share is not", async (t) => {
  const { node, podNetns, policy, setClass, expect } = await makePolicyStage(t);
  const told: string[] = [];
  await openLog(t, node).packets((one) => {
    if (one.what === "packet") told.push(`${one.head.source} ${one.head.protocol}`);
    else if (one.what === "lost") told.push(...Array.from({ length: one.packets }, () => "lost"));
  });
  await policy.ensure(closed);
  for (const pod of ["one", "two", "three"] as const) setClass(pod, 101);
  await expect({ "one tcp outside 8080": "denied" });
  fillShares(node);
  await expect({ "three tcp outside 8080": "denied" });
  await until("the packets of a pod without a share were told", () =>
    [at.three[4], at.three[6]].every((address) => told.includes(`${address} 6`)),
  );
  for (const [pod, { burst, perSecond }] of [
    ["one", loggedOfPair],
    ["two", loggedWithoutShare],
  ] as const) {
    const before = told.length;
    const startedMs = performance.now();
    podNetns[pod].run("python3", "-c", flood(at.outside[4]));
    const tookMs = performance.now() - startedMs;
    const last = `${at.three[4]} 17`;
    await until("the log is at its end", async () => {
      await expect({ "three udp outside 9090 4": "denied" });
      return told.slice(before).includes(last);
    });
    const ofFlood = told.slice(before).filter((one) => one !== last).length;
    t.diagnostic(`${pod}: ${ofFlood} told of a flood of ${Math.round(tookMs)} ms`);
    assert.ok(ofFlood > burst / 2, `${ofFlood} of ${pod}`);
    assert.ok(ofFlood <= burst + perSecond * (1 + tookMs / 1000), `${ofFlood} of ${pod}`);
  }
});

void test("connections that begin and end are told to who follows, those of others are not", async (t) => {
  const { node, policy, expect } = await makePolicyStage(t);
  await policy.ensure(emptyRuleset);
  const log = openLog(t, node);
  const told: string[] = [];
  const wanted = [at.one[4], at.one[6]].map(ip);
  const stop = log.connections(
    () => wanted,
    (event) => {
      if (event.what === "lost") return;
      const { protocol, original } = event.connection;
      told.push(
        `${event.what} ${original.source} ${original.destination} ${protocol} ${original.destinationPort ?? ""}`,
      );
    },
  );
  assert.throws(
    () =>
      log.connections(
        () => [],
        () => undefined,
      ),
    faultOf("kernel-busy"),
  );
  await expect({ "one tcp two 8080": "passes", "two tcp three 8080": "passes", "three udp one 5432": "passes" });
  for (const family of [4, 6] as const) {
    for (const text of [
      `began ${at.one[family]} ${at.two[family]} 6 8080`,
      `began ${at.three[family]} ${at.one[family]} 17 5432`,
    ])
      await until(text, () => told.includes(text));
  }
  assert.ok(!told.some((text) => text.includes(`${at.two[4]} ${at.three[4]}`)), told.join("\n"));
  node.run("conntrack", "-D", "-p", "udp", "-d", at.one[4]);
  const ended = `ended ${at.three[4]} ${at.one[4]} 17 5432`;
  await until(ended, () => told.includes(ended));
  stop();
  const before = told.length;
  await expect({ "one tcp three 8080": "passes" });
  assert.equal(told.length, before);
});
